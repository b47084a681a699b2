"""Fairness in work, on the real wire: what each tenant was served, against what it may be served."""

from __future__ import annotations

from collections import Counter, deque

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queues.redis.wire import EMPTY_CLAIM_CHARGE, KEEP, PREFIX, RedisWire

LANE = "interactive"
COSTS = st.integers(1, 20_000)

on_one_server = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def names(n: int) -> list[str]:
    return [f"tenant-{i}" for i in range(n)]


@on_one_server
@given(
    weights=st.lists(st.integers(1, 8), min_size=2, max_size=6),
    tokens=st.lists(COSTS, min_size=20, max_size=120),
    in_flight=st.integers(0, 6),
    foresight=st.floats(0.1, 1),
)
def test_backlogged_tenants_differ_by_what_is_in_flight_at_most(wire, client, weights, tokens, in_flight, foresight):
    """Estimates run short by any factor and are made good only when jobs end, ``in_flight`` turns later."""
    client.flushall()
    weight = dict(zip(names(len(weights)), weights, strict=True))
    served = dict.fromkeys(weight, 0.0)
    running: deque[tuple[str, float, float]] = deque()
    dearest = max(tokens) / min(weights)

    for job in tokens:
        wire.refill(LANE, dict.fromkeys(weight, 2))
        (turn,) = wire.take(LANE, 1)
        actual = job / weight[turn.tenant]
        estimate = actual * foresight
        wire.correct(LANE, turn.tenant, estimate - turn.charge)
        running.append((turn.tenant, actual - estimate, actual))
        served[turn.tenant] += actual
        if len(running) > in_flight:
            tenant, missing, cost = running.popleft()
            wire.correct(LANE, tenant, missing, observed=cost)

        assert max(served.values()) - min(served.values()) <= (in_flight + 1) * dearest * (1 + 1e-9)


@on_one_server
@given(
    honest=st.integers(1, 5),
    pauses=st.lists(st.integers(0, 12), min_size=10, max_size=60),
    own_cost=st.integers(1_000, 1_000_000),
    cost=st.integers(1, 3_000),
)
def test_going_idle_gains_nothing(wire, client, honest, pauses, own_cost, cost):
    """The cheat never has more than one turn waiting: it goes idle after each and comes back whenever it likes."""
    client.flushall()
    others = names(honest)
    served = Counter(dict.fromkeys([*others, "cheat"], 0))
    for pause in pauses:
        wire.offer(LANE, "cheat")
        for _ in range(pause + 1):
            wire.refill(LANE, dict.fromkeys(others, 2))
            (turn,) = wire.take(LANE, 1)
            actual = own_cost if turn.tenant == "cheat" else cost
            wire.correct(LANE, turn.tenant, actual - turn.charge)
            served[turn.tenant] += actual

        assert served["cheat"] <= min(served[tenant] for tenant in others) + own_cost


@on_one_server
@given(
    history=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 10), COSTS), max_size=25),
    backlog=st.dictionaries(st.sampled_from(names(6)), st.integers(1, 64), min_size=1),
)
def test_a_newcomer_waits_one_round_at_most(wire, client, history, backlog):
    client.flushall()
    for who, n, cost in history:
        wire.offer(LANE, f"tenant-{who}", n)
        for turn in wire.take(LANE, n // 2):
            wire.correct(LANE, turn.tenant, cost - turn.charge, observed=cost)
    wire.refill(LANE, backlog)
    active = client.zcard(f"{PREFIX}:{LANE}:active")

    wire.offer(LANE, "zz-newcomer")

    assert "zz-newcomer" in [turn.tenant for turn in wire.take(LANE, active + 1)]


@pytest.mark.parametrize("at_once", [1, 16])
def test_a_flood_moves_nobody_else(wire, at_once):
    wire.offer(LANE, "flood", 64)
    wire.take(LANE, 20)
    wire.refill(LANE, {"flood": 64})
    wire.offer_many(LANE, {"ada": 1, "ben": 1})

    first = [turn.tenant for _ in range(3) for turn in wire.take(LANE, at_once)][:3]

    assert {"ada", "ben"} < set(first)


def test_weights_share_the_work(wire):
    """Work units are tokens / weight: with jobs alike, three times the weight is three times the turns."""
    weight = {"small": 1, "large": 3}
    turns = Counter()
    for _ in range(200):
        wire.refill(LANE, dict.fromkeys(weight, 2))
        (turn,) = wire.take(LANE, 1)
        cost = 900 / weight[turn.tenant]
        wire.correct(LANE, turn.tenant, cost - turn.charge, observed=cost)
        turns[turn.tenant] += 1

    assert turns == {"small": 50, "large": 150}


def test_a_changed_weight_acts_on_the_backlog_at_once(wire):
    wire.offer_many(LANE, {"ada": 64, "ben": 64})
    weight = {"ada": 1, "ben": 1}
    turns = Counter()
    for n in range(80):
        if n == 40:
            assert turns == {"ada": 20, "ben": 20}
            weight["ben"] = 4
        (turn,) = wire.take(LANE, 1)
        wire.correct(LANE, turn.tenant, 1000 / weight[turn.tenant] - turn.charge)
        turns[turn.tenant] += 1

    assert turns == {"ada": 28, "ben": 52}


def test_late_correction_of_a_light_tenant_does_not_delay_its_next_turn(wire):
    """Its job ran long while others moved on: what it used lies behind the virtual time, so it is not behind."""
    wire.offer(LANE, "light")
    (turn,) = wire.take(LANE, 1)
    wire.offer(LANE, "flood", 64)
    wire.take(LANE, 40)

    wire.correct(LANE, "light", 9_000 - turn.charge)
    wire.offer(LANE, "light")

    assert wire.take(LANE, 1)[0].tenant == "light"


def test_large_job_of_an_idle_tenant_is_not_forgotten(wire):
    wire.offer_many(LANE, {"heavy": 1, "ada": 64})
    wire.take(LANE, 2)
    wire.correct(LANE, "heavy", 49_500)
    wire.offer(LANE, "heavy")

    turns = [turn.tenant for turn in wire.take(LANE, 60)]

    assert turns.index("heavy") == 50, "fifty-one turns of 1,000 go before, for a job of 50,500"


def test_tags_of_idle_tenants_are_forgotten_once_long_passed(wire, client):
    wire.offer_many(LANE, {f"once-{i}": 1 for i in range(50)})
    wire.take(LANE, 50)
    assert client.zcard(f"{PREFIX}:{LANE}:idle") == 50

    wire.offer(LANE, "ada", 2)
    wire.correct(LANE, "ada", 2 * KEEP)
    wire.take(LANE, 2)

    assert client.zrange(f"{PREFIX}:{LANE}:idle", 0, -1) == ["ada"]


def test_refund_leaves_the_price_of_an_empty_claim(wire, client):
    wire.offer(LANE, "ada", 2)
    wire.take(LANE, 1)
    turn = wire.take(LANE, 1)[0]
    before = client.zscore(f"{PREFIX}:{LANE}:idle", "ada")

    wire.refund(turn)

    assert client.zscore(f"{PREFIX}:{LANE}:idle", "ada") == before - turn.charge + EMPTY_CLAIM_CHARGE


@pytest.mark.parametrize("lost", ["active", "turns", "idle", "clock", "costs", "news"])
def test_losing_any_one_key_shuts_nobody_out(wire: RedisWire, client: redis.Redis, lost: str):
    tenants = names(4)
    wire.offer_many(LANE, dict.fromkeys(tenants, 64))
    for turn in wire.take(LANE, 100):
        wire.correct(LANE, turn.tenant, 200, observed=turn.charge + 200)

    client.delete(f"{PREFIX}:{LANE}:{lost}")
    wire.refill(LANE, dict.fromkeys([*tenants, "new"], 3))

    turns = Counter(turn.tenant for turn in wire.take(LANE, 1000))
    assert all(turns[tenant] >= 1 for tenant in [*tenants, "new"])
    wire.refill(LANE, dict.fromkeys([*tenants, "new"], 3))
    assert Counter(turn.tenant for turn in wire.take(LANE, 1000)) == dict.fromkeys([*tenants, "new"], 3)
