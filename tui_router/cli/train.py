"""`train`, `runs`, `export`, `promote`, `rollback`: a trained router from the command line."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from tui_router.cli.shared import DONE, FAILED, UsageError, cleaned, complain, configuration, emit, folder

if TYPE_CHECKING:
    from tui_router.training.preflight import Preflight
    from tui_router.training.run_events import Curve, RunEvent
    from tui_router.training.runs import Run

_LOOK_S = 0.3
ACTIONS = ("show", "gate", "resume", "pause", "keep", "drop", "note", "delete")


def work(name: str, given: dict[str, Any], args: argparse.Namespace) -> int:
    """One of the commands."""
    from tui_router.datasets.exported_dataset import DatasetExportError
    from tui_router.training.recipe import RecipeError
    from tui_router.training.runs import RunError
    from tui_router.training.training_error import TrainingError

    commands = {"train": train, "runs": runs, "export": export, "promote": promote, "rollback": rollback}
    try:
        return commands[name](given, args)
    except (RecipeError, RunError) as error:
        raise UsageError(str(error)) from error
    except (TrainingError, DatasetExportError, OSError) as error:
        return complain(str(error), FAILED)


# -- train ---------------------------------------------------------------------------------------------------------
def train(given: dict[str, Any], args: argparse.Namespace) -> int:
    """Begin a run, and follow it to its gate."""
    from tui_router.core.example import SOURCES
    from tui_router.training import recipe
    from tui_router.training.preflight import preflight
    from tui_router.training.start import create, own_dataset

    config, home = configuration(given), folder(given)
    chosen = recipe.load(args.recipe)
    data = args.data or own_dataset(config, home, chosen, args.source or SOURCES)
    found = preflight(chosen, data, home)
    _tell_preflight(found)
    if not found.ready:
        return FAILED
    run = create(home, chosen, data, found.data_hash, _race(given))
    run.start()
    if args.detach:
        if given.get("json"):
            emit({"run": run.id, "state": "running"})
        else:
            print(f"run {run.id} goes on by itself: tui-router runs show {run.id}")
        return DONE
    return _follow(run, given)


def _tell_preflight(found: Preflight) -> None:
    for note in found.notes:
        print(f"tui-router: {note.level}: {cleaned(note.message)}", file=sys.stderr)
    if found.ready and found.seconds:
        print(
            f"tui-router: {found.examples:,} examples, {found.steps:,} steps, about {found.memory_bytes / 1e9:.1f} GB and "
            f"{found.seconds / 60:.0f} minutes",
            file=sys.stderr,
        )


def _follow(run: Run, given: dict[str, Any]) -> int:
    """Tell what a run tells, until its process ends, then put it to the gate. Ctrl-C pauses it."""
    from tui_router.training.run_events import Done, Failed

    offset, asked = 0, False
    as_json = bool(given.get("json"))
    last: RunEvent | None = None
    while True:
        lives = run.is_running()
        try:
            for event, place in run.events_from(offset):
                offset, last = place, event
                _tell(event, run, as_json=as_json)
            if not lives and offset:
                break
            if not lives and not (run.folder / "events.jsonl").exists() and _ended_at_once(run):
                break
            time.sleep(_LOOK_S)
        except KeyboardInterrupt:
            if asked:
                raise
            asked = True
            run.request_stop("pause")
            print(f"tui-router: pausing after this step; tui-router runs resume {run.id} goes on", file=sys.stderr)
    if isinstance(last, Failed):
        return complain(f"{last.message}; {last.next}", FAILED)
    if not isinstance(last, Done):
        state = run.state()
        return (
            DONE
            if state in ("paused", "dropped")
            else complain(f"run {run.id} is {state}; {run.folder / 'log.txt'}", FAILED)
        )
    return _gate(run, given)


def _ended_at_once(run: Run) -> bool:
    """Whether the process of a run ended before it could tell anything."""
    time.sleep(5)
    return not run.is_running() and not (run.folder / "events.jsonl").exists()


def _tell(event: RunEvent, run: Run, *, as_json: bool) -> None:
    from tui_router.training.run_events import Evaluation, RunStage, RunStarted, RunWarning, Step

    if as_json:
        emit({"run": run.id, **msgspec.to_builtins(event)})
        return
    match event:
        case RunStage():
            print(f"… {cleaned(event.message)}")
        case RunStarted():
            share = event.trainable / max(1, event.parameters)
            print(
                f"{event.backend} on {event.device} ({event.why}): {event.trainable:,} of {event.parameters:,} weights ({share:.1%})"
            )
        case Step() if event.step % 10 == 0 or event.step in (1, event.of):
            print(
                f"{event.step:>6}/{event.of}  loss {event.loss:.4f}  {event.tokens_per_second:,.0f} tok/s  "
                f"{event.memory_bytes / 1e9:.1f} GB  {event.seconds_left:.0f} s left"
            )
        case Evaluation():
            low, high = event.ci95
            print(
                f"        held out {event.accuracy:.1%} [{low:.0%}-{high:.0%}] n={event.n}, loss {event.loss:.3f}, ECE {event.ece:.3f}"
            )
        case RunWarning():
            print(f"tui-router: {cleaned(event.message)}", file=sys.stderr)


# -- runs ----------------------------------------------------------------------------------------------------------
def runs(given: dict[str, Any], args: argparse.Namespace) -> int:
    """List the runs, or do something with one of them."""
    from tui_router.training.runs import STOP_WORDS, all_runs, find_run

    home = folder(given)
    if not args.action:
        return _list(all_runs(home), given)
    if args.action not in ACTIONS or not args.run:
        raise UsageError(f"runs takes nothing, or {', '.join(ACTIONS)} and a run, found {args.action!r}")
    run = find_run(home, args.run)
    match args.action:
        case "show":
            return _show(run, given)
        case "gate":
            return _gate(run, given)
        case "resume":
            run.start(resume=True)
            return _follow(run, given)
        case "note":
            run.set_note(" ".join(args.text))
        case "delete":
            run.delete()
        case _:
            if not run.is_running():
                return complain(f"run {run.id} is not running", FAILED)
            modes = {word: mode for mode, word in STOP_WORDS.items()}
            run.request_stop(modes[args.action])
    return DONE


def _list(found: list[Run], given: dict[str, Any]) -> int:
    rows = [_summary(run)[0] for run in found]
    if given.get("json"):
        emit({"runs": rows})
        return DONE
    for row in rows:
        score = f"{row['accuracy']:.1%} n={row['n']}" if row["n"] else "no score yet"
        gate = {True: "passed", False: "refused", None: ""}[row["passed"]]
        print(
            f"{row['id']}  {row['state']:<8} {row['step']:>6}/{row['steps']:<6} {score:<16} {gate:<8} {cleaned(row['base'])}"
        )
    if not rows:
        print("no runs yet: tui-router train --recipe gemma-3-1b")
    return DONE


def _summary(run: Run) -> tuple[dict[str, Any], Curve]:
    """A run as a row, and its curve."""
    from tui_router.training.gate.run_gate import last_result
    from tui_router.training.run_events import Curve

    curve = Curve()
    state, _ = run.read_new_events(curve)
    last, verdict = (curve.evals[-1] if curve.evals else None), last_result(run)
    row = {
        "id": run.id, "made": run.record.made, "state": state, "base": run.record.recipe.base,
        "step": curve.steps[-1].step if curve.steps else 0, "steps": curve.start.steps if curve.start else 0,
        "accuracy": last.accuracy if last else None, "n": last.n if last else 0,
        "passed": verdict.passed if verdict else None, "size_bytes": run.size_bytes(), "notes": run.record.notes,
    }  # fmt: skip
    return row, curve


def _show(run: Run, given: dict[str, Any]) -> int:
    from tui_router.training.run_events import Failed

    row, curve = _summary(run)
    if given.get("json"):
        emit({**row, "record": msgspec.to_builtins(run.record), "curve": msgspec.to_builtins(curve)})
        return DONE
    print(f"run {run.id}: {row['state']}, {run.folder}")
    if run.record.notes:
        print(cleaned(run.record.notes))
    for event in (curve.start, *curve.steps[-1:], *curve.evals[-1:]):
        if event is not None:
            _tell(event, run, as_json=False)
    end = curve.end
    if isinstance(end, Failed):
        print(f"{cleaned(end.message)}; {cleaned(end.next)}")
    gate_page = run.folder / "gate.md"
    if gate_page.is_file():
        print(cleaned(gate_page.read_text(encoding="utf-8")))
    return DONE


def _gate(run: Run, given: dict[str, Any]) -> int:
    from tui_router.training.gate.gate import to_markdown
    from tui_router.training.gate.run_gate import evaluate_run

    ensemble = _race(given)
    verdict = evaluate_run(run, configuration(given), folder(given), ensemble.champion, ensemble.champion_run)
    if given.get("json"):
        emit({"run": run.id, "event": "gate", **msgspec.to_builtins(verdict)})
    else:
        print(cleaned(to_markdown(verdict, run.id)))
        print(f"tui-router promote {run.id}" if verdict.passed else "not promoted: what it must show stands above")
    return DONE


# -- export, promote, rollback -------------------------------------------------------------------------------------
def export(given: dict[str, Any], args: argparse.Namespace) -> int:
    """Write a run in a form that servers take."""
    from tui_router.training.export import forms
    from tui_router.training.runs import find_run

    if args.format not in forms.FORMS:
        raise UsageError(f"--format is one of {', '.join(forms.FORMS)}, found {args.format!r}")
    if args.quant not in forms.QUANTS:
        raise UsageError(f"--quant is one of {', '.join(forms.QUANTS)}, found {args.quant!r}")
    config, run = configuration(given), find_run(folder(given), args.run)
    out = args.out or run.folder / "exports" / f"{args.format}-{args.quant}"
    made = forms.export(
        run, args.format, args.quant, out.resolve(), llama_cpp=config.settings.llama_cpp_dir, base_gguf=args.base_gguf,
        on_progress=lambda message: print(f"tui-router: {message}", file=sys.stderr),
    )  # fmt: skip
    if given.get("json"):
        emit(msgspec.to_builtins(made))
        return DONE
    print(f"{made.folder}: {made.size_bytes / 1e6:.1f} MB")
    if made.parity is not None:
        c = made.parity
        print(
            f"{c.same_route} of {c.n} held-out requests get the same route; probabilities differ by at most {c.max_difference:.4f}"
        )
    else:
        print(f"not compared: {cleaned(made.unchecked)}")
    for command in made.commands:
        print(f"  {command}")
    return DONE


def promote(given: dict[str, Any], args: argparse.Namespace) -> int:
    """Give a run the lead, if it passes its gate."""
    from tui_router.app import tuned_router
    from tui_router.routing.ensemble.champion import TUNED
    from tui_router.training.runs import find_run

    config, home = configuration(given), folder(given)
    run, ensemble = find_run(home, args.run), _race(given)
    reason = tuned_router.passes(ensemble, run, config, home)
    return _give_lead(given, TUNED, reason, run.id)


def rollback(given: dict[str, Any], args: argparse.Namespace) -> int:
    """Take the lead back."""
    from tui_router.app import tuned_router

    return _give_lead(given, tuned_router.before(_race(given)), tuned_router.ROLLED_BACK)


def _give_lead(given: dict[str, Any], router: str, reason: str, run: str = "") -> int:
    from tui_router.store.store import Store

    store = Store(folder(given))
    try:
        store.record_promotion(router, reason, run)
    finally:
        store.close()
    if given.get("json"):
        emit({"leader": router, "reason": reason})
    else:
        print(f"{router} leads now: {reason}")
    return DONE


def _race(given: dict[str, Any]) -> Any:
    """The race as the data folder's verdicts have made it."""
    from tui_router.learning.online_learner import taught_by

    return taught_by(configuration(given), folder(given)).ensemble
