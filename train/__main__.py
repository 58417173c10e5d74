"""Fine-tune a router: `python -m train --recipe R --data DIR --out RUN`. `python -m train JOB --help` shows the other jobs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path


def main() -> int:
    """Do one job; returns its exit code: 0 when done, 1 when it failed. Wrong usage exits with 2."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # standard output is for events, standard error for failures
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    given = sys.argv[1:]
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given = ["run", *given]  # without a job's name, as `accelerate launch -m train` is documented
    args = _parser().parse_args(given)
    work: Callable[[argparse.Namespace], int] = args.work
    return work(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    jobs = parser.add_subparsers(required=True, metavar="JOB")

    def job(name: str, about: str, work: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        made = jobs.add_parser(name, help=about, description=about)
        made.set_defaults(work=work)
        return made

    run = job("run", "train a router (also without the word run)", _run)
    run.add_argument("--recipe", required=True, help="a TOML file, or the name of a shipped recipe")
    run.add_argument("--data", type=Path, required=True, help="a folder of `dataset export --target letter`")
    run.add_argument("--out", type=Path, required=True, help="the run's folder")
    run.add_argument("--resume", action="store_true", help="continue after the newest checkpoint")
    run.add_argument("--nice", type=int, default=0, help="lower priority: 0 to 19")

    export = job("export", "write an artifact in another form", _export)
    export.add_argument("--artifact", type=Path, required=True)
    export.add_argument("--format", required=True, choices=("adapter", "merged", "gguf", "gguf-lora", "base-gguf"))
    export.add_argument("--quant", default="f16", choices=("f32", "f16", "bf16", "q8_0", "q4_0"))
    export.add_argument(
        "--convert", type=Path, help="llama.cpp's convert_hf_to_gguf.py, for models that our own writer does not know"
    )
    export.add_argument("--out", type=Path, required=True)

    check = job("check", "compare an export in Hugging Face form with its artifact", _check)
    check.add_argument("--folder", type=Path, required=True, help="the export")
    check.add_argument("--artifact", type=Path, required=True, help="what it was made from")

    llama = job("llama", "serve a GGUF file with llama.cpp", _llama)
    llama.add_argument("--model", type=Path, required=True)
    llama.add_argument("--lora", type=Path)
    llama.add_argument("--alias", default="tui-router")

    job("serve", "answer questions on standard input with an artifact", _serve).add_argument(
        "--artifact", type=Path, required=True
    )

    tiny = job("tiny", "make a tiny base model with random weights", _tiny)
    tiny.add_argument("--data", type=Path, required=True, help="the tokenizer is fitted to the texts of this dataset")
    tiny.add_argument("--out", type=Path, required=True)
    tiny.add_argument("--size", type=int, default=192, help="hidden size; 192 makes 1.7 million parameters")
    tiny.add_argument("--vocabulary", type=int, default=1024)
    tiny.add_argument("--layers", type=int, default=4)
    tiny.add_argument("--seed", type=int, default=0)
    return parser


# each job imports its module itself: torch takes seconds, and not every job needs it
def _run(args: argparse.Namespace) -> int:
    from train.program import run

    if args.nice and hasattr(os, "nice"):
        os.nice(args.nice)
    return run(args.recipe, args.data.resolve(), args.out.resolve(), resume=args.resume)


def _export(args: argparse.Namespace) -> int:
    from train.export import export

    return export(args.artifact.resolve(), args.format, args.quant, args.out.resolve(), args.convert)


def _check(args: argparse.Namespace) -> int:
    from train.check import check

    return check(args.folder, args.artifact)


def _llama(args: argparse.Namespace) -> int:
    from train.llama import serve_gguf

    return serve_gguf(args.model, args.lora, args.alias)


def _serve(args: argparse.Namespace) -> int:
    from train.serve import serve

    return serve(args.artifact)


def _tiny(args: argparse.Namespace) -> int:
    from train.tiny import build

    build(args.data, args.out, args.size, args.vocabulary, args.layers, args.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
