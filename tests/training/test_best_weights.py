"""The weights of the best evaluation: kept on the disk, put back at the end, also after a resume."""

import pytest

pytestmark = pytest.mark.trains


@pytest.fixture
def model():
    import torch

    made = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    made[0].requires_grad_(False)  # like the frozen base of LoRA
    return made


def fill(model, value):
    import torch

    with torch.no_grad():
        for p in model.parameters():
            p.fill_(value)


def test_the_least_log_loss_is_kept_also_by_another_process(tmp_path, model):
    from train.best_weights import BestWeights

    kept = BestWeights(tmp_path)
    assert kept.best is None
    for step, (value, log_loss) in enumerate([(1.0, 0.9), (2.0, 0.4), (3.0, 0.4), (4.0, 0.7)], 1):
        fill(model, value)
        kept.offer(model, step, log_loss)
    again = BestWeights(tmp_path)
    assert (again.best.step, again.best.log_loss) == (2, 0.4)
    again.restore(model)
    assert model[1].weight.unique().tolist() == [2.0] and model[0].weight.unique().tolist() == [4.0]


def test_what_a_crash_left_half_written_counts_as_nothing(tmp_path, model):
    from train.best_weights import BestWeights

    kept = BestWeights(tmp_path)
    kept.offer(model, 1, 0.5)
    (tmp_path / "best.json").write_text("{")
    assert kept.best is None
    kept.offer(model, 2, 0.6)
    assert kept.best.step == 2


def test_a_run_tells_which_step_it_kept(full):
    curve = full.curve()
    best = min((one for one in curve.evals), key=lambda one: one.log_loss)
    assert curve.end.kept_step > 0 and best.log_loss <= curve.evals[0].log_loss
    assert not (full.folder / "checkpoints").exists()


def test_a_model_that_is_only_too_sure_of_itself_is_better_than_one_that_has_learned_little():
    from train.labels import AnswerTokens, RowPrediction, calibrated_log_loss
    from tui_router.training.rows import TrainingRow

    answers = AnswerTokens(("code", "chat"), ("A", "B"), ((1,), (2,)))
    row = TrainingRow((), "A", "code", "k", "seed")

    def loss(*probabilities):
        return calibrated_log_loss([RowPrediction(row, (p, 1 - p), 1.0) for p in probabilities], answers)

    too_sure = [0.9999] * 17 + [0.0001] * 3
    little = [0.55] * 13 + [0.45] * 7
    assert loss(*too_sure) < loss(*little) < 0.7
