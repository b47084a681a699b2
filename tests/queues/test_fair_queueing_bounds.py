"""The theory, on the real wire. Start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996, theorem 1): over any span
in which two tenants both have work waiting, what they are served differs by one largest job of each at most,

    | work_i / weight_i − work_j / weight_j |  ≤  dearest_i / weight_i + dearest_j / weight_j.

It holds for costs known when a turn is charged. What an estimate conceals until its job has ended comes on top, for
each job that is in flight.
"""

from __future__ import annotations

from collections import deque
from itertools import combinations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from queues.redis.wire import MOST_OWED

LANE = "interactive"
NAMES = ("ada", "ben", "cy", "dot")
EXACT = 1 + 1e-9

on_one_server = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
weights = st.lists(st.integers(1, 8), min_size=len(NAMES), max_size=len(NAMES))
#: What happens before each take: how many turns each tenant is given. 0 lets it run dry.
arrivals = st.lists(
    st.tuples(st.lists(st.integers(0, 4), min_size=len(NAMES), max_size=len(NAMES)), st.integers(1, 20_000)),
    min_size=20, max_size=90,
)  # fmt: skip


@on_one_server
@given(weights=weights, steps=arrivals)
def test_over_any_interval_two_backlogged_tenants_differ_by_one_job_of_each(wire, client, weights, steps):
    """Tenants come and go at random. Each pair is compared over every interval in which both have work."""
    client.flushall()
    weight = dict(zip(NAMES, weights, strict=True))
    served = dict.fromkeys(NAMES, 0.0)
    dearest = dict.fromkeys(NAMES, 0.0)
    range_of: dict[tuple[str, str], tuple[float, float]] = {}

    for refills, tokens in steps:
        wire.refill(LANE, {name: n for name, n in zip(NAMES, refills, strict=True) if n})
        waiting = wire.outstanding(LANE)
        for one, other in combinations(NAMES, 2):
            if one in waiting and other in waiting:
                now = served[one] - served[other]
                low, high = range_of.get((one, other), (now, now))
                range_of[one, other] = (min(low, now), max(high, now))
                assert max(high, now) - min(low, now) <= (dearest[one] + dearest[other]) * EXACT, (one, other)
            else:
                range_of.pop((one, other), None)
        for turn in wire.take(LANE, 1):
            work = tokens / weight[turn.tenant]
            wire.correct(LANE, turn.tenant, work - turn.charge)
            served[turn.tenant] += work
            dearest[turn.tenant] = max(dearest[turn.tenant], work)


@on_one_server
@given(weights=weights, steps=arrivals)
def test_nobody_who_waits_starves(wire, client, weights, steps):
    """While a tenant waits, no other is served more than a largest job of each: the waiting one's turn comes."""
    client.flushall()
    weight = dict(zip(NAMES, weights, strict=True))
    dearest = dict.fromkeys(NAMES, 0.0)
    passed: dict[tuple[str, str], float] = {}  # (waiting tenant, served tenant) → work since the first one's last turn

    for refills, tokens in steps:
        wire.refill(LANE, {name: n for name, n in zip(NAMES, refills, strict=True) if n})
        waiting = wire.outstanding(LANE)
        passed = {pair: work for pair, work in passed.items() if pair[0] in waiting}
        turns = wire.take(LANE, 1)
        assert len(turns) == min(1, sum(waiting.values())), "a slot stayed empty while there was work"
        for turn in turns:
            work = tokens / weight[turn.tenant]
            wire.correct(LANE, turn.tenant, work - turn.charge)
            dearest[turn.tenant] = max(dearest[turn.tenant], work)
            for name in waiting:
                if name == turn.tenant:
                    passed = {pair: gone for pair, gone in passed.items() if pair[0] != name}
                else:
                    passed[name, turn.tenant] = passed.get((name, turn.tenant), 0.0) + work
                    assert passed[name, turn.tenant] <= (dearest[name] + dearest[turn.tenant]) * EXACT


@on_one_server
@given(
    weights=weights,
    tokens=st.lists(st.integers(1_000, 3_000), min_size=30, max_size=150),
    in_flight=st.integers(0, 4),
    estimates=st.lists(st.floats(0.25, 4), min_size=len(NAMES), max_size=len(NAMES)),
)
@example(weights=[1] * 4, tokens=[1_000] * 150, in_flight=4, estimates=[1, 4, 1, 4])
def test_wrong_estimates_cost_what_is_in_flight_and_no_more(wire, client, weights, tokens, in_flight, estimates):
    """Some always estimate too high, others too low. What was charged too much is given back, also when others have
    gone ahead meanwhile: it does not add up."""
    client.flushall()
    weight = dict(zip(NAMES, weights, strict=True))
    off = dict(zip(NAMES, estimates, strict=True))
    served = dict.fromkeys(NAMES, 0.0)
    running: deque[tuple[str, float, float]] = deque()
    dearest = {name: max(tokens) / weight[name] for name in NAMES}
    hidden = {name: dearest[name] * abs(1 - off[name]) * (in_flight + 1) for name in NAMES}

    for job in tokens:
        wire.refill(LANE, dict.fromkeys(NAMES, 2))
        (turn,) = wire.take(LANE, 1)
        actual = job / weight[turn.tenant]
        estimate = actual * off[turn.tenant]
        wire.correct(LANE, turn.tenant, estimate - turn.charge)
        running.append((turn.tenant, actual - estimate, actual))
        served[turn.tenant] += actual
        if len(running) > in_flight:
            tenant, missing, cost = running.popleft()
            wire.correct(LANE, tenant, missing, observed=cost)

        for one, other in combinations(NAMES, 2):
            bound = dearest[one] + dearest[other] + hidden[one] + hidden[other]
            assert abs(served[one] - served[other]) <= bound * EXACT, (one, other)


@on_one_server
@given(parked=st.integers(2, 30), absurd=st.integers(10**5, 10**8), meanwhile=st.integers(20, 120))
def test_absurd_estimates_save_no_head_start_up(wire, client, parked, absurd, meanwhile):
    """A tenant parks jobs that are estimated far too high, lets others go ahead, and gets it all back at once: it goes
    first with what it may be owed, and no more."""
    client.flushall()
    wire.refill(LANE, {"cheat": parked + 60, "honest": 64})
    for _ in range(parked):
        wire.correct(LANE, "cheat", 0.0, observed=1_000)
    jobs = [turn for _ in range(2 * parked) for turn in wire.take(LANE, 1) if turn.tenant == "cheat"]
    for turn in jobs:
        wire.correct(LANE, "cheat", absurd - turn.charge)
    for _ in range(meanwhile):
        wire.refill(LANE, {"cheat": 60, "honest": 2})
        (turn,) = wire.take(LANE, 1)
        assert turn.tenant == "honest"
    for _ in jobs:
        wire.correct(LANE, "cheat", 1_000 - absurd)

    first = 0
    while True:
        wire.refill(LANE, {"cheat": 60, "honest": 2})
        (turn,) = wire.take(LANE, 1)
        if turn.tenant == "honest":
            break
        first += 1
    assert first <= MOST_OWED + 2


def test_a_newcomer_does_not_wait_for_what_another_is_owed(wire):
    wire.offer(LANE, "owed", 10)
    for turn in wire.take(LANE, 5):
        wire.correct(LANE, "owed", 0.0, observed=turn.charge)
    for _ in range(5):
        wire.correct(LANE, "owed", -900.0)

    wire.offer(LANE, "zz-newcomer")

    assert "zz-newcomer" in [turn.tenant for turn in wire.take(LANE, 2)]
