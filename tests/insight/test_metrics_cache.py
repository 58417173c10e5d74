"""Cached metrics equal metrics from scratch, whatever any process wrote in between."""

import random
from math import ceil
from threading import Thread

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.worlds import SHIPPED, a_turn, right, wrong
from tui_router.core.clock import local_day
from tui_router.insight.metrics import LogHistogram, Metrics, metrics_of
from tui_router.insight.metrics_cache import BUCKET_TURNS, MetricsCache
from tui_router.store.store import Store

FLEET = SHIPPED.fleet
DAYS = ("2026-03-01T12:00:00.000Z", "2026-03-02T12:00:00.000Z", "2026-03-03T12:00:00.000Z")


def filled(folder, n=3 * BUCKET_TURNS):
    store, dice = Store(folder), random.Random(0)
    with store.db.transaction():
        for i in range(n):
            turn = store.record(a_turn(dice.choice(["hello", "write a python function"]), at=DAYS[i * 3 // n]))
            if i % 3 == 0:
                store.rate(turn.id, dice.choice([right("code"), wrong("vision"), wrong()]))
    return store


def same(counted, store, day=""):
    scratch = metrics_of((t for t in store.turns() if local_day(t.at) >= day), FLEET)
    return rounded(counted.total(day)) == rounded(scratch)


def rounded(metrics):
    """Sums of confidences depend on their order in the last digit."""
    confidence = {stratum: round(total, 6) for stratum, total in metrics.strata.confidence.items()}
    bins = [(round(total, 6), rate) for total, rate in metrics.calibration_bins]
    return replace(metrics, calibration_bins=bins, strata=replace(metrics.strata, confidence=confidence))


def test_a_store_is_counted_once_and_then_only_changed_turns(tmp_path):
    store = filled(tmp_path / "store")
    counted = MetricsCache(FLEET, tmp_path / "counted")
    shares = list(counted.refresh_steps(store))
    assert shares[-1] == 1 and len(shares) == 4 and same(counted, store) and same(counted, store, "2026-03-02")
    assert list(counted.by_day()) == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert counted.total("2026-03-02", "2026-03-02").turns == BUCKET_TURNS
    counted.save()

    other = Store(tmp_path / "store")
    other.rate("10", wrong("reasoning"))
    other.record(a_turn("hello"))
    other.close()
    again = MetricsCache(FLEET, tmp_path / "counted")
    assert len(list(again.refresh_steps(store))) == 2 and same(again, store)
    assert list(again.refresh_steps(store)) == []
    store.close()


def test_after_a_rename_or_with_a_broken_file_the_store_is_counted_anew(tmp_path):
    store = filled(tmp_path / "store", 30)
    counted = MetricsCache(FLEET, tmp_path / "counted")
    counted.refresh(store)
    counted.save()
    renamed = replace(FLEET, routes=(*FLEET.routes[:-1], replace(FLEET.routes[-1], name="greetings")))
    assert list(MetricsCache(FLEET, tmp_path / "counted").refresh_steps(store)) == []
    assert list(MetricsCache(renamed, tmp_path / "counted").refresh_steps(store)) == [1.0]
    (tmp_path / "counted").write_bytes(b"\x93nonsense")
    fresh = MetricsCache(FLEET, tmp_path / "counted")
    assert list(fresh.refresh_steps(store)) and same(fresh, store)
    elsewhere = filled(tmp_path / "elsewhere", 20)
    (tmp_path / "counted").unlink()
    counted._saved_version = -1
    counted.save()
    moved = MetricsCache(FLEET, tmp_path / "counted")
    moved.refresh(elsewhere)
    assert same(moved, elsewhere)
    store.close()
    elsewhere.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1e-2, 1e6), min_size=1, max_size=60), st.sampled_from([0.5, 0.95]))
def test_quantiles_are_right_to_a_bin(values, share):
    histogram = LogHistogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(0, ceil(share * len(values)) - 1)]
    assert abs(histogram.quantile(share) / exact - 1) < 0.026 and histogram.n == len(values)
    assert LogHistogram().quantile(0.5) is None


def test_merged_halves_equal_the_whole():
    turns = [a_turn("hello", id=f"{i}-a", verdict=right("code") if i % 2 else wrong("vision")) for i in range(1, 40)]
    half, rest = metrics_of(turns[:17], FLEET), metrics_of(turns[17:], FLEET)
    half.merge(rest)
    assert rounded(half) == rounded(metrics_of(turns, FLEET)) and metrics_of([], FLEET) == Metrics()


class Interrupted(dict):
    """Buckets to which another one is added while they are iterated, unless a lock prevents it."""

    meanwhile = staticmethod(lambda: None)

    def __iter__(self):
        places = super().__iter__()
        yield next(places)
        self.meanwhile()
        yield from places


def test_one_thread_counts_while_another_reads(tmp_path):
    store = filled(tmp_path / "store")
    counted = MetricsCache(FLEET, tmp_path / "none")
    counted.refresh(store)
    with store.db.transaction():
        for _ in range(BUCKET_TURNS):
            store.record(a_turn("hello"))
    counting = Thread(target=lambda: counted.refresh(store))

    def meanwhile():
        if not counting.ident:
            counting.start()
            counting.join(0.5)

    counted._state.buckets = Interrupted(counted._state.buckets)
    counted._state.buckets.meanwhile = meanwhile
    assert counted.total("").turns == 3 * BUCKET_TURNS
    counting.join()
    assert counted.total("").turns == 4 * BUCKET_TURNS and list(counted.by_day())
    store.close()
