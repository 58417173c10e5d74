"""Looks at the same sealed rows: counted, and the level shared out over them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tui_router.training.sealed_looks import count_look, level_of_look, next_look

ROWS = [f"{i:016x}" for i in range(100)]


def test_all_looks_together_use_no_more_than_the_level():
    assert sum(level_of_look(0.05, look) for look in range(1, 10_000)) == pytest.approx(0.05, abs=1e-5)


def test_each_run_is_one_look_however_often_it_is_judged(tmp_path):
    assert next_look(tmp_path, ROWS) == 1
    assert [count_look(tmp_path, run, ROWS) for run in ("a", "b", "a", "c", "b")] == [1, 2, 1, 3, 2]
    assert next_look(tmp_path, ROWS) == 4


def test_a_few_new_rows_do_not_make_a_new_set_and_other_rows_do(tmp_path):
    count_look(tmp_path, "a", ROWS)
    assert count_look(tmp_path, "b", [*ROWS[10:], *(f"new {i}" for i in range(60))]) == 2
    assert count_look(tmp_path, "c", [f"other {i}" for i in range(100)]) == 1


def test_looks_of_several_processes_are_all_counted(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: count_look(tmp_path, f"run {i}", ROWS), range(24)))
    assert sorted(found) == list(range(1, 25))


def test_a_line_that_a_crash_cut_off_is_skipped(tmp_path):
    count_look(tmp_path, "a", ROWS)
    with (tmp_path / "runs" / "gate_looks.jsonl").open("ab") as file:
        file.write(b'{"at": "2026')
    assert count_look(tmp_path, "b", ROWS) == 2
    assert next_look(tmp_path, ROWS) == 3
