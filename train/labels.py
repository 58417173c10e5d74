"""The answers that a router may give, as tokens, and the probabilities that a model gives them for each request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import log
from typing import Any, NamedTuple

import torch
from torch.nn.functional import log_softmax

from train.errors import BaseModelError
from tui_router.core.statistics import wilson
from tui_router.routing.ensemble.calibration import CalibrationRow, temperature
from tui_router.routing.evaluation.scores import expected_calibration_error
from tui_router.training.rows import TrainingRow
from tui_router.training.run_events import Evaluation

BATCH = 16
"""Prompts in one forward pass when nothing is trained. Chosen by hand: it fits next to a 1B model in 8 GB."""
TEMPERATURES = tuple(1.07**i for i in range(-20, 31))
"""From 0.26 to 7.6."""


class AnswerTokens(NamedTuple):
    """The routes, and the tokens that the model writes for each."""

    routes: tuple[str, ...]
    answers: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    """Token ids of each answer, as they follow a prompt."""


class RowPrediction(NamedTuple):
    """A row with the model's probabilities for it."""

    row: TrainingRow
    probabilities: tuple[float, ...]
    """One for each route; they sum to 1."""
    mass: float
    """Probability of all answers together, among everything that the model could write next."""


def render_prompt(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    """Return the text that the chat template makes of the messages. Raises BaseModelError."""
    try:
        text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program by somebody else: it can raise anything
        raise BaseModelError(
            f"the chat template of the base model fails ({type(error).__name__}: {error}); "
            "choose an instruction-tuned base"
        ) from error
    return text


def control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Return what the tokenizer reads as one control token wherever it stands in a text, longest first."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return tuple(sorted(added | set(tokenizer.all_special_tokens), key=len, reverse=True))


def tokenize_prompt(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Return the token ids of a rendered prompt; the template has written the special tokens already."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def tokenize_answers(tokenizer: Any, answers: Mapping[str, str], *, letters: bool) -> AnswerTokens:
    """Return the token ids of every answer, as they follow a prompt.

    Args:
        tokenizer: Of the base model.
        answers: Route -> answer.
        letters: Each answer must be exactly one token.

    Raises:
        BaseModelError: an answer has no tokens of its own, or two answers have the same.
    """
    start = render_prompt(tokenizer, [{"role": "user", "content": "x"}])
    before = tokenize_prompt(tokenizer, start)
    ids = []
    for route, answer in answers.items():
        whole = tokenize_prompt(tokenizer, start + answer)
        own = whole[len(before) :]
        if whole[: len(before)] != before or not own or (letters and len(own) != 1):
            wanted = "one token" if letters else "tokens of its own"
            raise BaseModelError(
                f"the tokenizer of the base model does not write {answer!r} ({route}) as {wanted}; choose another base"
            )
        ids.append(own)
    if len(set(ids)) != len(ids):
        raise BaseModelError("two answers are the same tokens to the base model's tokenizer; choose another base")
    return AnswerTokens(tuple(answers), tuple(answers.values()), tuple(ids))


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Turn dropout off, and on again afterwards if it was on."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@torch.inference_mode()
def predict(
    model: Any, tokenizer: Any, rows: Sequence[TrainingRow], answers: AnswerTokens, batch: int = BATCH
) -> list[RowPrediction]:
    """Return the probabilities of the answers for each row, in the order of the rows."""
    order = sorted(range(len(rows)), key=lambda i: len(str(rows[i].messages)))  # equal lengths need less padding
    found: list[RowPrediction] = []
    with evaluation_mode(model):
        for start in range(0, len(order), batch):
            part = [rows[i] for i in order[start : start + batch]]
            prompts = [render_prompt(tokenizer, row.messages) for row in part]
            scores = label_log_probabilities(model, tokenizer, prompts, answers)
            p = torch.softmax(scores, -1).tolist()
            mass = torch.logsumexp(scores, -1).exp().clamp(max=1.0).tolist()
            found += [RowPrediction(row, tuple(one), m) for row, one, m in zip(part, p, mass, strict=True)]
    by_row = dict(zip(order, found, strict=True))
    return [by_row[i] for i in range(len(rows))]


@torch.inference_mode()
def label_log_probabilities(model: Any, tokenizer: Any, prompts: Sequence[str], answers: AnswerTokens) -> torch.Tensor:
    """Return the natural log of each answer's probability after each prompt: (prompts, answers), float32, on the CPU."""
    if all(len(own) == 1 for own in answers.ids):
        encoded = _pad_left(tokenizer, prompts, model.device)
        last = model(**encoded, logits_to_keep=1).logits[:, -1].float()
        return log_softmax(last, -1)[:, [own[0] for own in answers.ids]].cpu()
    columns = []
    for answer, own in zip(answers.answers, answers.ids, strict=True):  # several tokens: the product over all of them
        encoded = _pad_left(tokenizer, [text + answer for text in prompts], model.device)
        logits = model(**encoded, logits_to_keep=len(own) + 1).logits[:, :-1].float()
        ids = torch.tensor(own, device=logits.device).expand(len(prompts), -1)[..., None]
        columns.append(log_softmax(logits, -1).gather(-1, ids).sum((1, 2)).cpu())
    return torch.stack(columns, -1)


def _pad_left(tokenizer: Any, texts: Sequence[str], device: Any) -> Any:
    """Tokenize with padding on the left, so that the last column is the end of every prompt."""
    return tokenizer(list(texts), return_tensors="pt", padding=True, add_special_tokens=False, padding_side="left").to(
        device
    )


@torch.inference_mode()
def completion_loss(model: Any, tokenizer: Any, rows: Sequence[TrainingRow], batch: int = BATCH) -> float:
    """Return the mean negative log probability of the tokens of the right answers, in nats: the trainer's loss."""
    total, count = 0.0, 0
    with evaluation_mode(model):
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            lengths = [len(tokenize_prompt(tokenizer, render_prompt(tokenizer, row.messages))) for row in part]
            whole = [
                tokenizer.apply_chat_template(
                    [*row.messages, {"role": "assistant", "content": row.answer}], tokenize=False
                )
                for row in part
            ]
            encoded = tokenizer(
                whole, return_tensors="pt", padding=True, add_special_tokens=False, padding_side="right"
            ).to(model.device)
            logs = log_softmax(model(**encoded).logits[:, :-1].float(), -1)
            logs = logs.gather(-1, encoded["input_ids"][:, 1:, None])[..., 0]
            positions = torch.arange(1, logs.shape[1] + 1, device=logs.device)
            is_answer = (positions >= torch.tensor(lengths, device=logs.device)[:, None]) & (
                encoded["attention_mask"][:, 1:] == 1
            )
            total -= float(logs[is_answer].sum())
            count += int(is_answer.sum())
    return total / max(1, count)


def evaluate(predictions: Sequence[RowPrediction], answers: AnswerTokens, step: int, loss: float) -> Evaluation:
    """Return accuracy, calibration and the figures of each route. Needs at least one prediction."""
    index = {route: i for i, route in enumerate(answers.routes)}
    right = [
        max(range(len(one.probabilities)), key=one.probabilities.__getitem__) == index[one.row.route]
        for one in predictions
    ]
    per_route: dict[str, tuple[int, int]] = {}
    for one, hit in zip(predictions, right, strict=True):
        hits, n = per_route.get(one.row.route, (0, 0))
        per_route[one.row.route] = hits + hit, n + 1
    return Evaluation(
        step=step,
        n=len(predictions),
        loss=loss,
        accuracy=sum(right) / len(predictions),
        ci95=wilson(sum(right), len(predictions)),
        ece=expected_calibration_error(
            (max(one.probabilities), hit) for one, hit in zip(predictions, right, strict=True)
        ),
        mass=sum(one.mass for one in predictions) / len(predictions),
        per_route=per_route,
        log_loss=calibrated_log_loss(predictions, answers),
    )


def best_temperature(predictions: Sequence[RowPrediction], answers: AnswerTokens) -> float:
    """Return the temperature with the least log loss on these rows (temperature scaling, Guo et al. 2017)."""
    index = {route: i for i, route in enumerate(answers.routes)}
    return temperature(
        [CalibrationRow([log(max(1e-9, p)) for p in one.probabilities], index[one.row.route]) for one in predictions]
    )


def calibrated_log_loss(predictions: Sequence[RowPrediction], answers: AnswerTokens) -> float:
    """Return the mean negative log of the right route's probability at the best of TEMPERATURES, in nats.

    The temperature comes first because a trained router is used at one: weights that are only too sure of themselves are not
    worse, and without it weights from before the model had learned much looked best (`scripts/measure_training.py best`).
    """
    index = {route: i for i, route in enumerate(answers.routes)}
    scores = torch.tensor([one.probabilities for one in predictions]).clamp(min=1e-9).log()
    right = torch.tensor([index[one.row.route] for one in predictions])
    return min(float(-log_softmax(scores / t, -1)[torch.arange(len(right)), right].mean()) for t in TEMPERATURES)
