"""Whole datasets: split for ever, whole or not there, and read by the real library."""

import pytest

from tests.worlds import RULES, SHIPPED
from tui_router.core.example import Example
from tui_router.core.types import Message
from tui_router.datasets.export import ExportOptions, export
from tui_router.datasets.exported_dataset import DatasetExportError
from tui_router.datasets.formats import FORMATS, example_of
from tui_router.datasets.near_duplicates import representatives
from tui_router.datasets.sources import seed_examples
from tui_router.datasets.splits import split
from tui_router.routing.evaluation.perturbation import noisy
from tui_router.routing.learned.learned_router import LearnedRouter

FLEET = SHIPPED.fleet
ENCODER = LearnedRouter(FLEET, RULES).projection
SEEDS = list(seed_examples(FLEET))[::25]


def written(tmp_path, examples=SEEDS, **choice):
    return export(lambda: examples, FLEET, ExportOptions(**choice), tmp_path / "out", ENCODER)


@pytest.mark.parametrize("form", FORMATS)
def test_the_real_library_reads_every_format(tmp_path, form):
    datasets = pytest.importorskip("datasets")
    made = written(tmp_path, form=form, private="keep")
    kind = {"csv": "csv", "hf": "parquet"}.get(form, "json")
    ending = {"csv": "csv", "hf": "parquet"}.get(form, "jsonl")
    inside = tmp_path / "out" / ("data" if form == "hf" else "")
    files = {part: str(inside / f"{part}.{ending}") for part in made.parts}
    read = datasets.load_dataset(kind, data_files=files, cache_dir=str(tmp_path / "cache"))
    assert {part: rows.num_rows for part, rows in read.items()} == made.parts
    if form != "csv":
        back = [example_of(row, form) for rows in read.values() for row in rows]
        assert {e.key for e in back} <= {e.key for e in SEEDS} and {e.route for e in back} == set(FLEET.by_route)


@pytest.mark.parametrize("form", FORMATS)
def test_a_folder_is_loaded_by_its_card_without_naming_files(tmp_path, form):
    datasets = pytest.importorskip("datasets")
    made = written(tmp_path, form=form)
    read = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {part: rows.num_rows for part, rows in read.items()} == made.parts


def test_csv_says_on_its_card_what_it_drops(tmp_path):
    talk = [
        Example(text="and in rust?", route="code", source="verdict", history=(Message("user", "sort a list in go"),))
    ]
    made = export(lambda: talk, FLEET, ExportOptions(form="csv"), tmp_path / "out", ENCODER)
    assert made.dropped == {"the conversation before": 1}
    assert "no place for: the conversation before (of 1 examples)" in (tmp_path / "out" / "README.md").read_text()
    kept = export(lambda: talk, FLEET, ExportOptions(form="alpaca"), tmp_path / "alpaca", ENCODER)
    assert kept.dropped == {} and "sort a list in go" in next((tmp_path / "alpaca").glob("*.jsonl")).read_text()


def test_the_card_counts_and_the_hash_is_the_same_twice(tmp_path):
    made = written(tmp_path)
    again = export(lambda: SEEDS, FLEET, ExportOptions(), tmp_path / "again", ENCODER)
    assert made.hash == again.hash and sum(made.parts.values()) == sum(made.per_source.values())
    card = (tmp_path / "out" / "README.md").read_text()
    assert made.hash in card and f"{sum(made.parts.values()):,} examples" in card and "load_dataset" in card


def test_private_data_is_masked_dropped_or_kept(tmp_path):
    secret = [Example(text="mail the report to jo.doe@firm.example please", route="tool_use", source="verdict")]
    for private, said in (("mask", "[e-mail]"), ("keep", "jo.doe@firm.example")):
        export(lambda: secret, FLEET, ExportOptions(private=private, form="csv"), tmp_path / private, ENCODER)
        assert any(said in path.read_text() for path in (tmp_path / private).glob("*.csv"))
    with pytest.raises(DatasetExportError, match="no example to write"):
        export(lambda: secret, FLEET, ExportOptions(private="drop"), tmp_path / "drop", ENCODER)
    assert not (tmp_path / "drop").exists()


def test_the_path_that_an_older_import_noted_is_masked(tmp_path):
    example = Example(text="sort my list", route="code", source="imported", origin="/home/ana/old chats.jsonl, line 3")
    made = export(lambda: [example], FLEET, ExportOptions(), tmp_path / "out", ENCODER)
    (text,) = (path.read_text() for path in (tmp_path / "out").glob("*.jsonl"))
    assert "/home" not in text and "[file path]" in text and made.masked == 0


def test_a_stop_in_the_middle_leaves_no_half_folder(tmp_path):
    def stop(done, of):
        if done == of:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(lambda: SEEDS, FLEET, ExportOptions(), tmp_path / "out", ENCODER, stop)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_a_folder_that_is_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(DatasetExportError, match="not empty; choose another folder"):
        written(tmp_path)
    assert (tmp_path / "out" / "mine.txt").read_text() == "x"


def test_parts_stay_as_the_data_grows():
    def parts(examples):
        return dict(
            zip([e.key for e in examples], split(examples, representatives(examples, ENCODER).tolist()), strict=True)
        )

    few, many = parts(SEEDS[:100]), parts(SEEDS)
    assert all(many[key] == part for key, part in few.items())
    assert 0.05 < list(many.values()).count("test") / len(many) < 0.2


def test_a_conversation_is_never_cut():
    talk = [Example(text=e.text, route=e.route, source="verdict", session=f"{i // 5}-x") for i, e in enumerate(SEEDS)]
    stands = representatives(talk, ENCODER).tolist()
    parts = split(talk, stands)
    for session in {e.session for e in talk}:
        own = {p for i, (e, p) in enumerate(zip(talk, parts, strict=True)) if e.session == session and stands[i] == i}
        assert len(own) <= 1


def test_planted_near_duplicates_are_found_and_others_are_not():
    alone = [
        e
        for place, e in enumerate(SEEDS)
        if representatives(SEEDS, ENCODER)[place] == place and len(e.text.split()) > 4
    ]
    copies = [
        Example(text=request.text, route=e.route, source="verdict", has_image=e.has_image)
        for kind in ("case", "punctuation", "after")
        for e, request in zip(alone, noisy([e.request for e in alone], kind), strict=True)
    ]
    found = representatives([*alone, *copies], ENCODER)
    n = len(alone)
    recall = sum(found[n + i] == i % n for i in range(len(copies))) / len(copies)
    precision = sum(found[n + i] == i % n for i in range(len(copies))) / sum(found[n:] != range(n, n + len(copies)))
    assert recall >= 0.95 and precision >= 0.95
    parts = split([*alone, *copies], found.tolist())
    assert sum(parts[n + i] != parts[i % n] for i in range(len(copies))) / len(copies) <= 0.05
