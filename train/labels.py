"""The answers that a router may give, as tokens, and their probabilities in one look at a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import log_softmax

from tui_router.core.statistics import wilson
from tui_router.routing.ensemble.calibration import CalibrationRow as Scored
from tui_router.routing.ensemble.calibration import temperature
from tui_router.routing.evaluation.scores import expected_calibration_error
from tui_router.training.rows import TrainingRow
from tui_router.training.run_events import Eval

BATCH = 16


class BaseModelError(ValueError):
    """The base cannot be used; the message says why and what to do."""


class Labels(NamedTuple):
    """The routes, and what the model says for each."""

    routes: tuple[str, ...]
    answers: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    """Tokens of each answer behind a prompt."""


class RowPrediction(NamedTuple):
    """A row and what the model made of it."""

    row: TrainingRow
    probabilities: tuple[float, ...]
    """Of all labels; they sum to 1."""
    mass: float
    """Probability of all labels together, among all that could be said."""


def prompt(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    """What the model is shown, as the one text that its chat template makes of it."""
    try:
        text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program of somebody else's
        raise BaseModelError(
            f"the base's chat template cannot be used ({type(error).__name__}: {error}); take an instruction-tuned base"
        ) from error
    return text


def labels_of(tokenizer: Any, answers: Mapping[str, str], *, letters: bool) -> Labels:
    """The answers as tokens; with `letters`, each must be one token. Raises BaseModelError."""
    start = prompt(tokenizer, [{"role": "user", "content": "x"}])
    before = tokenizer(start, add_special_tokens=False)["input_ids"]
    ids = []
    for route, answer in answers.items():
        whole = tokenizer(start + answer, add_special_tokens=False)["input_ids"]
        own = tuple(whole[len(before) :])
        if whole[: len(before)] != before or not own or (letters and len(own) != 1):
            raise BaseModelError(
                f"the base's tokenizer makes no token of its own of {answer!r} ({route}); take another base"
            )
        ids.append(own)
    if len(set(ids)) != len(ids):
        raise BaseModelError("two answers are the same token to the base's tokenizer; take another base")
    return Labels(tuple(answers), tuple(answers.values()), tuple(ids))


@torch.inference_mode()
def judge(
    model: Any, tokenizer: Any, rows: Sequence[TrainingRow], labels: Labels, batch: int = BATCH
) -> list[RowPrediction]:
    """Probabilities of the labels for each row. The model's mode (training or not) is left as it was."""
    was_training = model.training
    model.eval()
    try:
        found = []
        order = sorted(range(len(rows)), key=lambda i: len(str(rows[i].messages)))  # like with like: less padding
        for start in range(0, len(order), batch):
            part = [rows[i] for i in order[start : start + batch]]
            found += _judge(model, tokenizer, part, labels)
        back = dict(zip(order, found, strict=True))
        return [back[i] for i in range(len(rows))]
    finally:
        model.train(was_training)


def _judge(model: Any, tokenizer: Any, rows: Sequence[TrainingRow], labels: Labels) -> list[RowPrediction]:
    scores = scored(model, tokenizer, [prompt(tokenizer, row.messages) for row in rows], labels)
    p = torch.softmax(scores, -1).tolist()
    mass = torch.logsumexp(scores, -1).exp().clamp(max=1.0).tolist()
    return [RowPrediction(row, tuple(one), m) for row, one, m in zip(rows, p, mass, strict=True)]


@torch.inference_mode()
def scored(model: Any, tokenizer: Any, prompts: Sequence[str], labels: Labels) -> torch.Tensor:
    """Log probability of each label behind each prompt, (prompts, labels), float32 on the CPU."""
    if all(len(own) == 1 for own in labels.ids):
        encoded = _padded(tokenizer, prompts, model.device)
        last = model(**encoded, logits_to_keep=1).logits[:, -1].float()
        return log_softmax(last, -1)[:, [own[0] for own in labels.ids]].cpu()
    columns = []
    for answer, own in zip(
        labels.answers, labels.ids, strict=True
    ):  # an answer of several tokens: all of them in a row
        encoded = _padded(tokenizer, [text + answer for text in prompts], model.device)
        logits = model(**encoded, logits_to_keep=len(own) + 1).logits[:, :-1].float()
        told = log_softmax(logits, -1).gather(
            -1, torch.tensor(own, device=logits.device).expand(len(prompts), -1)[..., None]
        )
        columns.append(told.sum((1, 2)).cpu())
    return torch.stack(columns, -1)


def _padded(tokenizer: Any, texts: Sequence[str], device: Any) -> Any:
    """On the left, so that what is decided stands at the last place of every row."""
    return tokenizer(list(texts), return_tensors="pt", padding=True, add_special_tokens=False, padding_side="left").to(
        device
    )


@torch.inference_mode()
def completion_loss(model: Any, tokenizer: Any, rows: Sequence[TrainingRow], batch: int = BATCH) -> float:
    """Mean negative log probability of the tokens of the answers, in nats: what the trainer calls the loss."""
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    try:
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            before = [prompt(tokenizer, row.messages) for row in part]
            whole = [
                tokenizer.apply_chat_template(
                    [*row.messages, {"role": "assistant", "content": row.answer}], tokenize=False
                )
                for row in part
            ]
            lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in before]
            encoded = tokenizer(
                whole, return_tensors="pt", padding=True, add_special_tokens=False, padding_side="right"
            ).to(model.device)
            told = log_softmax(model(**encoded).logits[:, :-1].float(), -1)
            told = told.gather(-1, encoded["input_ids"][:, 1:, None])[..., 0]
            places = torch.arange(1, told.shape[1] + 1, device=told.device)
            answers = (places >= torch.tensor(lengths, device=told.device)[:, None]) & (
                encoded["attention_mask"][:, 1:] == 1
            )
            total -= float(told[answers].sum())
            count += int(answers.sum())
    finally:
        model.train(was_training)
    return total / max(1, count)


def evaluation(judged: Sequence[RowPrediction], labels: Labels, step: int, loss: float) -> Eval:
    """The figures of judged rows."""
    places = {route: i for i, route in enumerate(labels.routes)}
    right = [max(range(len(j.probabilities)), key=j.probabilities.__getitem__) == places[j.row.route] for j in judged]
    per_route: dict[str, tuple[int, int]] = {}
    for one, hit in zip(judged, right, strict=True):
        hits, n = per_route.get(one.row.route, (0, 0))
        per_route[one.row.route] = hits + hit, n + 1
    return Eval(
        step=step, n=len(judged), loss=loss, accuracy=sum(right) / len(judged), ci95=wilson(sum(right), len(judged)),
        ece=expected_calibration_error((max(j.probabilities), hit) for j, hit in zip(judged, right, strict=True)),
        mass=sum(j.mass for j in judged) / len(judged), per_route=per_route,
    )  # fmt: skip


def best_temperature(judged: Sequence[RowPrediction], labels: Labels) -> float:
    """The temperature with the least log loss on judged rows."""
    places = {route: i for i, route in enumerate(labels.routes)}
    return temperature([Scored([_log(p) for p in j.probabilities], places[j.row.route]) for j in judged])


def _log(p: float) -> float:
    from math import log

    return log(max(1e-9, p))
