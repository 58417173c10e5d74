"""`train`, `runs`, `export`, `promote`, `rollback`: fine-tuning a router without a screen."""

from __future__ import annotations

import functools
import time
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from tui_router.cli.shared import DONE, FAILED, UsageError, cleaned, complain, configuration, emit, folder, notice

if TYPE_CHECKING:
    from tui_router.routing.ensemble.ensemble import RouterEnsemble
    from tui_router.training.preflight import Preflight
    from tui_router.training.run_events import Curve, RunEvent
    from tui_router.training.runs import Run, StopMode

_POLL_S = 0.3
"""Seconds between two looks at the events of a running training."""
_START_S = 5
"""Seconds that a process which has just ended is given to write its first event."""


def _with_sentences(work: Callable[[Namespace], int]) -> Callable[[Namespace], int]:
    """Turn the errors of training into a sentence and an exit code."""

    @functools.wraps(work)
    def command(args: Namespace) -> int:
        from tui_router.datasets.exported_dataset import DatasetExportError
        from tui_router.training.recipe import RecipeError
        from tui_router.training.runs import RunError
        from tui_router.training.training_error import TrainingError

        try:
            return work(args)
        except (RecipeError, RunError) as error:
            raise UsageError(str(error)) from error
        except (TrainingError, DatasetExportError) as error:
            return complain(str(error), FAILED)

    return command


@_with_sentences
def train(args: Namespace) -> int:
    """Start a run, and follow it to its gate."""
    from tui_router.core.example import SOURCES
    from tui_router.training import recipe
    from tui_router.training.preflight import preflight
    from tui_router.training.start import create, own_dataset

    config, home = configuration(args), folder(args)
    chosen = recipe.load(args.recipe)
    data = args.data or own_dataset(config, home, chosen, args.source or SOURCES)
    found = preflight(chosen, data, home)
    _show_preflight(found)
    if not found.ready:
        return FAILED
    run = create(home, chosen, data, found.data_hash, _ensemble(args))
    run.start()
    if args.detach:
        if args.json:
            emit({"run": run.id, "state": "running"})
        else:
            print(f"run {run.id} trains in the background: tui-router runs show {run.id}")
        return DONE
    return _follow(run, args)


def _show_preflight(found: Preflight) -> None:
    for one in found.notes:
        notice(f"{one.level}: {one.message}")
    if found.ready and found.seconds:
        size = f"{found.examples:,} examples, {found.steps:,} steps"
        notice(f"{size}, about {found.memory_bytes / 1e9:.1f} GB and {found.seconds / 60:.0f} minutes")


def _follow(run: Run, args: Namespace) -> int:
    """Print the events of a run until its process ends, then evaluate it at its gate. Ctrl-C pauses the run."""
    from tui_router.training.run_events import Done, Failed

    offset, asked = 0, False
    last: RunEvent | None = None
    while True:
        lives = run.is_running()
        try:
            for event, place in run.events_from(offset):
                offset, last = place, event
                _show_event(event, run, as_json=args.json)
            if not lives and offset:
                break
            if not lives and not (run.folder / "events.jsonl").exists() and _ended_at_once(run):
                break
            time.sleep(_POLL_S)
        except KeyboardInterrupt:
            if asked:
                raise
            asked = True
            run.request_stop("pause")
            notice(f"pausing after this step; to go on: tui-router runs resume {run.id}")
    if isinstance(last, Failed):
        return complain(f"{last.message}; {last.next}", FAILED)
    if not isinstance(last, Done):
        state = run.state()
        if state in ("paused", "dropped"):
            return DONE
        return complain(f"run {run.id} is {state}; its log: {run.folder / 'log.txt'}", FAILED)
    return _gate(run, args)


def _ended_at_once(run: Run) -> bool:
    """Whether the process of a run ended before it wrote an event."""
    time.sleep(_START_S)
    return not run.is_running() and not (run.folder / "events.jsonl").exists()


def _show_event(event: RunEvent, run: Run, *, as_json: bool) -> None:
    from tui_router.training.run_events import Evaluation, RunStage, RunStarted, RunWarning, Step

    if as_json:
        emit({"run": run.id, **msgspec.to_builtins(event)})
        return
    match event:
        case RunStage():
            print(f"… {cleaned(event.message)}")
        case RunStarted():
            share = event.trainable / max(1, event.parameters)
            weights = f"{event.trainable:,} of {event.parameters:,} weights ({share:.1%})"
            print(f"{event.backend} on {event.device} ({event.why}): {weights}")
        case Step() if event.step % 10 == 0 or event.step in (1, event.of):
            cost = f"{event.tokens_per_second:,.0f} tok/s  {event.memory_bytes / 1e9:.1f} GB"
            print(f"{event.step:>6}/{event.of}  loss {event.loss:.4f}  {cost}  {event.seconds_left:.0f} s left")
        case Evaluation():
            accuracy = f"{event.accuracy:.1%} [{event.ci95[0]:.0%}-{event.ci95[1]:.0%}] n={event.n}"
            print(f"        held out {accuracy}, loss {event.loss:.3f}, ECE {event.ece:.3f}")
        case RunWarning():
            notice(event.message)


@_with_sentences
def runs(args: Namespace) -> int:
    """List the runs, newest first."""
    from tui_router.training.runs import all_runs

    rows = [_summary(run)[0] for run in all_runs(folder(args))]
    if args.json:
        emit({"runs": rows})
        return DONE
    for row in rows:
        score = f"{row['accuracy']:.1%} n={row['n']}" if row["n"] else "no score yet"
        gate = {True: "passed", False: "refused", None: ""}[row["passed"]]
        steps = f"{row['step']:>6}/{row['steps']:<6}"
        print(f"{row['id']}  {row['state']:<8} {steps} {score:<16} {gate:<8} {cleaned(row['base'])}")
    if not rows:
        print("no runs yet: tui-router train --recipe gemma-3-1b")
    return DONE


@_with_sentences
def show(args: Namespace) -> int:
    """Show one run: its state, its newest figures, its gate."""
    from tui_router.training.run_events import Failed

    run = _run(args)
    row, curve = _summary(run)
    if args.json:
        emit({**row, "record": msgspec.to_builtins(run.record), "curve": msgspec.to_builtins(curve)})
        return DONE
    print(f"run {run.id}: {row['state']}, {run.folder}")
    if run.record.notes:
        print(cleaned(run.record.notes))
    for event in (curve.start, *curve.steps[-1:], *curve.evals[-1:]):
        if event is not None:
            _show_event(event, run, as_json=False)
    end = curve.end
    if isinstance(end, Failed):
        print(f"{cleaned(end.message)}; {cleaned(end.next)}")
    gate_page = run.folder / "gate.md"
    if gate_page.is_file():
        print(cleaned(gate_page.read_text(encoding="utf-8")))
    return DONE


@_with_sentences
def gate(args: Namespace) -> int:
    """Evaluate a run at its gate."""
    return _gate(_run(args), args)


@_with_sentences
def resume(args: Namespace) -> int:
    """Go on with a run that was paused or that ended early."""
    run = _run(args)
    run.start(resume=True)
    return _follow(run, args)


@_with_sentences
def note(args: Namespace) -> int:
    """Set the note of a run."""
    _run(args).set_note(" ".join(args.text))
    return DONE


@_with_sentences
def delete(args: Namespace) -> int:
    """Delete a run."""
    _run(args).delete()
    return DONE


def _run(args: Namespace) -> Run:
    """Return the run that was named. Raises RunError."""
    from tui_router.training.runs import find_run

    return find_run(folder(args), args.run)


def _stop(mode: StopMode) -> Callable[[Namespace], int]:
    """Make the command that stops a run after its current step."""

    def stop(args: Namespace) -> int:
        run = _run(args)
        if not run.is_running():
            return complain(f"run {run.id} is not running", FAILED)
        run.request_stop(mode)
        return DONE

    return _with_sentences(stop)


pause, keep, drop = _stop("pause"), _stop("stop_and_keep"), _stop("discard")


def _summary(run: Run) -> tuple[dict[str, Any], Curve]:
    """Return a run as a row of the list, and its curve."""
    from tui_router.training.gate.run_gate import last_result
    from tui_router.training.run_events import Curve

    curve = Curve()
    state, _ = run.read_new_events(curve)
    last, verdict = (curve.evals[-1] if curve.evals else None), last_result(run)
    row = {
        "id": run.id,
        "made": run.record.made,
        "state": state,
        "base": run.record.recipe.base,
        "step": curve.steps[-1].step if curve.steps else 0,
        "steps": curve.start.steps if curve.start else 0,
        "accuracy": last.accuracy if last else None,
        "n": last.n if last else 0,
        "passed": verdict.passed if verdict else None,
        "size_bytes": run.size_bytes(),
        "notes": run.record.notes,
    }
    return row, curve


def _gate(run: Run, args: Namespace) -> int:
    from tui_router.training.gate.gate import to_markdown
    from tui_router.training.gate.run_gate import evaluate_run

    ensemble = _ensemble(args)
    verdict = evaluate_run(run, configuration(args), folder(args), ensemble.champion, ensemble.champion_run)
    if args.json:
        emit({"run": run.id, "event": "gate", **msgspec.to_builtins(verdict)})
    else:
        print(cleaned(to_markdown(verdict, run.id)))
        print(
            f"tui-router promote {run.id}" if verdict.passed else "not promoted: the failed conditions are listed above"
        )
    return DONE


@_with_sentences
def export(args: Namespace) -> int:
    """Write a run in a format that model servers load."""
    from tui_router.training.export import forms

    if args.format not in forms.FORMS:
        raise UsageError(f"--format: there is no {args.format!r}; known: {', '.join(forms.FORMS)}")
    if args.quant not in forms.QUANTS:
        raise UsageError(f"--quant: there is no {args.quant!r}; known: {', '.join(forms.QUANTS)}")
    config, run = configuration(args), _run(args)
    made = forms.export(
        run,
        args.format,
        args.quant,
        args.out or run.folder.absolute() / "exports" / f"{args.format}-{args.quant}",
        llama_cpp=config.settings.llama_cpp_dir,
        base_gguf=args.base_gguf,
        on_progress=notice,
    )
    if args.json:
        emit(msgspec.to_builtins(made))
        return DONE
    print(f"{made.folder}: {made.size_bytes / 1e6:.1f} MB")
    if made.parity is not None:
        same = f"{made.parity.same_route} of {made.parity.n} held-out requests get the same route"
        print(f"{same}; probabilities differ by at most {made.parity.max_difference:.4f}")
    else:
        print(f"not compared: {cleaned(made.unchecked)}")
    for command in made.commands:
        print(f"  {command}")
    return DONE


@_with_sentences
def promote(args: Namespace) -> int:
    """Make a run the champion, if it passes its gate."""
    from tui_router.app import tuned_router
    from tui_router.routing.ensemble.champion import TUNED

    config, home = configuration(args), folder(args)
    run, ensemble = _run(args), _ensemble(args)
    reason = tuned_router.passes(ensemble, run, config, home)
    return _make_champion(args, TUNED, reason, run.id)


@_with_sentences
def rollback(args: Namespace) -> int:
    """Make the champion before this one the champion again."""
    from tui_router.app import tuned_router

    return _make_champion(args, tuned_router.before(_ensemble(args)), tuned_router.ROLLED_BACK)


def _make_champion(args: Namespace, router: str, reason: str, run: str = "") -> int:
    from tui_router.store.store import Store

    store = Store(folder(args))
    try:
        store.record_promotion(router, reason, run)
    finally:
        store.close()
    if args.json:
        emit({"leader": router, "reason": reason})
    else:
        print(f"{router} is the champion now: {reason}")
    return DONE


def _ensemble(args: Namespace) -> RouterEnsemble:
    """Return the routers as the verdicts of the data folder have taught them."""
    from tui_router.learning.online_learner import taught_by

    return taught_by(configuration(args), folder(args)).ensemble
