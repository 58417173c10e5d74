"""`python -m train --recipe R --data DIR --out RUN`: fine-tune a router. `export`, `serve` and `tiny` are its other jobs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main() -> int:
    """One job; the exit code is 0 when it is done, 1 when it failed, 2 for wrong usage."""
    given = sys.argv[1:]
    os.environ.setdefault("TQDM_DISABLE", "1")  # standard output is for events, standard error for what went wrong
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    job = given[0] if given and not given[0].startswith("-") else "run"
    parser = argparse.ArgumentParser(prog=f"python -m train {job}", description=__doc__)
    match job:
        case "run":
            parser.add_argument("--recipe", required=True, help="a TOML file, or the name of a shipped recipe")
            parser.add_argument("--data", type=Path, required=True, help="a folder of `dataset export --target letter`")
            parser.add_argument("--out", type=Path, required=True, help="the run's folder")
            parser.add_argument("--resume", action="store_true", help="go on behind the newest checkpoint")
            parser.add_argument("--nice", type=int, default=0, help="how far to stand back for others, 0 to 19")
            args = parser.parse_args(given[1:] if given[:1] == ["run"] else given)
            if args.nice and hasattr(os, "nice"):
                os.nice(args.nice)
            from train.program import run

            return run(args.recipe, args.data, args.out, resume=args.resume)
        case "export":
            parser.add_argument("--artifact", type=Path, required=True)
            parser.add_argument(
                "--format", required=True, choices=("adapter", "merged", "gguf", "gguf-lora", "base-gguf")
            )
            parser.add_argument("--quant", default="f16", choices=("f32", "f16", "bf16", "q8_0", "q4_0"))
            parser.add_argument(
                "--convert", type=Path, help="llama.cpp's convert_hf_to_gguf.py, for models that we cannot convert"
            )
            parser.add_argument("--out", type=Path, required=True)
            args = parser.parse_args(given[1:])
            from train.export import export

            return export(args.artifact, args.format, args.quant, args.out, args.convert)
        case "check":
            parser.add_argument("--folder", type=Path, required=True, help="an export in Hugging Face form")
            parser.add_argument("--artifact", type=Path, required=True, help="what it was made from")
            args = parser.parse_args(given[1:])
            from train.check import check

            return check(args.folder, args.artifact)
        case "llama":
            parser.add_argument("--model", type=Path, required=True)
            parser.add_argument("--lora", type=Path)
            parser.add_argument("--alias", default="tui-router")
            args = parser.parse_args(given[1:])
            from train.llama import serve_gguf

            return serve_gguf(args.model, args.lora, args.alias)
        case "serve":
            parser.add_argument("--artifact", type=Path, required=True)
            from train.serve import serve

            return serve(parser.parse_args(given[1:]).artifact)
        case "tiny":
            parser.add_argument("--data", type=Path, required=True, help="whose texts the tokenizer is made from")
            parser.add_argument("--out", type=Path, required=True)
            parser.add_argument("--size", type=int, default=192, help="width; 192 makes 1.7 million parameters")
            parser.add_argument("--vocabulary", type=int, default=1024)
            parser.add_argument("--layers", type=int, default=4)
            parser.add_argument("--seed", type=int, default=0)
            args = parser.parse_args(given[1:])
            from train.tiny import build

            build(args.data, args.out, args.size, args.vocabulary, args.layers, args.seed)
            return 0
    parser.error(f"there is no job {job!r}; known: run, export, check, serve, llama, tiny")


if __name__ == "__main__":
    sys.exit(main())
