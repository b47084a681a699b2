from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from queues.lanes import LaneChooser


def serve(chooser: LaneChooser, slots: int, busy: set[str]) -> Counter[str]:
    """A round of takes in which the lanes of ``busy`` have turns enough and the others none."""
    served: Counter[str] = Counter()
    asking = list(chooser.lanes)
    while slots and asking:
        wanted = chooser.share(slots, asking)
        got = {lane: n if lane in busy else 0 for lane, n in wanted.items()}
        chooser.record(wanted, got)
        served.update(got)
        slots -= sum(got.values())
        asking = [lane for lane in asking if lane not in wanted or lane in busy]
    return served


def test_lanes_share_by_weight():
    chooser = LaneChooser({"interactive": 9, "batch": 1})
    served = sum((serve(chooser, 1, {"interactive", "batch"}) for _ in range(100)), Counter())
    assert served == {"interactive": 90, "batch": 10}


def test_a_lane_alone_gets_everything():
    chooser = LaneChooser({"interactive": 9, "batch": 1})
    assert serve(chooser, 16, {"batch"}) == {"interactive": 0, "batch": 16}


def test_nothing_is_shared_where_nobody_asks():
    chooser = LaneChooser({"interactive": 9, "batch": 1})
    assert chooser.share(4, []) == {}
    assert chooser.share(0, ["batch"]) == {}


def test_an_idle_lane_saves_nothing_up():
    chooser = LaneChooser({"interactive": 1, "batch": 1})
    for _ in range(1000):
        serve(chooser, 1, {"batch"})

    served = sum((serve(chooser, 1, {"interactive", "batch"}) for _ in range(20)), Counter())

    assert served == {"interactive": 10, "batch": 10}


def test_a_trickling_lane_saves_nothing_up():
    chooser = LaneChooser({"interactive": 1, "batch": 1})
    for _ in range(100):
        wanted = chooser.share(16, ["interactive", "batch"])
        chooser.record(wanted, wanted | {"interactive": 1})

    served = sum((serve(chooser, 1, {"interactive", "batch"}) for _ in range(40)), Counter())

    assert abs(served["interactive"] - served["batch"]) <= 16


def test_an_idle_light_lane_is_not_asked_at_every_turn():
    chooser = LaneChooser({"interactive": 9, "batch": 1})
    asked = Counter(lane for _ in range(90) for lane in serve(chooser, 1, {"interactive"}))
    assert asked == {"interactive": 90, "batch": 9}


def test_a_lane_that_comes_back_is_served_at_once():
    chooser = LaneChooser({"interactive": 9, "batch": 1})
    for _ in range(1000):
        serve(chooser, 1, {"batch"})
    assert serve(chooser, 1, {"interactive", "batch"})["interactive"] == 1


@given(
    weights=st.lists(st.integers(1, 20), min_size=2, max_size=5),
    rounds=st.lists(st.integers(1, 16), min_size=1, max_size=40),
)
def test_busy_lanes_differ_by_one_turn_each_at_most(weights, rounds):
    weight = {f"lane-{i}": n for i, n in enumerate(weights)}
    chooser = LaneChooser(weight)
    served: Counter[str] = Counter()
    for slots in rounds:
        served += serve(chooser, slots, set(weight))
        shares = [served[lane] / weight[lane] for lane in weight]
        assert max(shares) - min(shares) <= 1 / min(weights) + 1e-9
    assert served.total() == sum(rounds)


@given(
    weights=st.lists(st.integers(1, 20), min_size=2, max_size=4),
    rounds=st.lists(st.tuples(st.integers(1, 16), st.sets(st.integers(0, 3))), max_size=40),
)
def test_no_slot_stays_empty_while_any_lane_has_turns(weights, rounds):
    chooser = LaneChooser({f"lane-{i}": n for i, n in enumerate(weights)})
    for slots, busy in rounds:
        lanes = {f"lane-{i}" for i in busy if i < len(weights)}
        assert serve(chooser, slots, lanes).total() == (slots if lanes else 0)


#: Two lanes of any weights, the first at least as heavy; and what happened before: free slots, and who had turns.
histories = st.lists(st.tuples(st.integers(1, 16), st.sets(st.sampled_from(["interactive", "batch"]))), max_size=40)


@given(heavy=st.integers(1, 20), light=st.integers(1, 20), history=histories, slots=st.integers(1, 40))
def test_interactive_gets_the_first_slot_that_batch_frees(heavy, light, history, slots):
    """Batch took every slot while there was nothing else. Whatever happened before, the next free slot is interactive's
    (``interactive`` weighs as much as ``batch`` at least)."""
    chooser = LaneChooser({"interactive": max(heavy, light), "batch": min(heavy, light)})
    for free, busy in history:
        serve(chooser, free, busy)
    for free in [*[16] * (slots // 16), slots % 16]:
        serve(chooser, free, {"batch"})

    assert serve(chooser, 1, {"interactive", "batch"})["interactive"] == 1


@given(weights=st.lists(st.integers(1, 20), min_size=2, max_size=4), history=st.data())
def test_a_lane_gets_its_minimum_after_any_history(weights, history):
    """Whatever happened before, even if it used idle capacity: over four rounds a lane gets what its weight says, but
    for a late start."""
    weight = {f"lane-{i}": n for i, n in enumerate(weights)}
    chooser = LaneChooser(weight)
    for free, busy in history.draw(st.lists(st.tuples(st.integers(1, 16), st.sets(st.sampled_from(sorted(weight)))))):
        serve(chooser, free, busy)

    slots = 4 * sum(weights)
    served = sum((serve(chooser, 1, set(weight)) for _ in range(slots)), Counter())

    for lane, n in weight.items():
        # it may start two strides of its own and one of the lightest lane behind; a stride is 1 / weight of a round
        late = 2 + n / min(weights)
        assert served[lane] >= 4 * n - late, (lane, served)
