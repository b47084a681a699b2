"""The Lua on a real server against a plain model: same turns, same order, same state after every step."""

from __future__ import annotations

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from queues.redis import wire as redis_wire
from queues.redis.wire import RedisWire
from queues.turns import Turn
from tests.support.turn_model import Model
from tests.support.valkey import PrivateValkey

LANE = "interactive"
MOST_TURNS = 5

tenants = st.sampled_from(["ada", "ben", "cy", "dot", "eve", "flo"])
fills = st.dictionaries(tenants, st.integers(-1, 2 * MOST_TURNS), max_size=6)
work = st.one_of(
    st.integers(0, 5_000),
    st.floats(0, 50_000),
    st.sampled_from([redis_wire.KEEP - 1, redis_wire.KEEP, 3 * redis_wire.KEEP, 1 / 3]),
)


class WireAgainstModel(RuleBasedStateMachine):
    wire: RedisWire
    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.model = Model(MOST_TURNS)
        self.taken: list[Turn] = []

    @rule(turns=fills)
    def offer(self, turns):
        assert self.wire.offer_many(LANE, turns) == self.model.offer(turns)

    @rule(turns=fills)
    def refill(self, turns):
        assert self.wire.refill(LANE, turns) == self.model.refill(turns)
        assert self.wire.refill(LANE, turns) == 0

    @rule(n=st.integers(1, 20))
    def take(self, n):
        waiting = sum(self.model.turns.values())
        turns = self.wire.take(LANE, n)
        assert len(turns) == min(n, waiting), "work was there and a slot was free"
        assert [(turn.tenant, turn.charge) for turn in turns] == self.model.take(n)
        self.taken += turns

    @rule(tenant=tenants, delta=work, sign=st.sampled_from([1, -1]), observed=st.none() | work)
    def correct(self, tenant, delta, sign, observed):
        self.wire.correct(LANE, tenant, sign * delta, observed)
        self.model.correct(tenant, sign * delta, observed)

    @rule(which=st.randoms(use_true_random=False))
    def refund(self, which):
        if self.taken:
            turn = self.taken.pop(which.randrange(len(self.taken)))
            self.wire.refund(turn)
            self.model.correct(turn.tenant, min(0.0, redis_wire.EMPTY_CLAIM_CHARGE - turn.charge), None)

    @rule()
    def wipe(self):
        self.client.flushall()
        self.model.wipe()

    @rule()
    def forget_scripts(self):
        self.client.script_flush()

    @invariant()
    def state_is_the_same(self):
        def key(name):
            return f"{redis_wire.PREFIX}:{LANE}:{name}"

        with self.client.pipeline() as look:
            look.zrange(key("active"), 0, -1, withscores=True).zrange(key("idle"), 0, -1, withscores=True)
            look.hgetall(key("turns")).hgetall(key("costs")).get(key("clock")).llen(key("news"))
            active, idle, turns, costs, clock, news = look.execute()
        assert dict(active) == self.model.active
        assert dict(idle) == self.model.idle
        assert {tenant: int(n) for tenant, n in turns.items()} == self.model.turns
        assert {tenant: float(cost) for tenant, cost in costs.items()} == self.model.costs
        assert float(clock or 0) == self.model.virtual_time
        # What has to hold of the model, and so of both:
        assert all(1 <= n <= MOST_TURNS for n in self.model.turns.values())
        assert news <= redis_wire.MOST_NEWS
        assert news or not self.model.active, "turns are waiting and no consumer would be told"


@pytest.fixture
def machine(valkey: PrivateValkey, client: redis.Redis):
    wire = RedisWire(valkey.url, lanes={LANE: 1}, turns_per_tenant=MOST_TURNS)
    yield type("Machine", (WireAgainstModel,), {"wire": wire, "client": client})
    wire.close()


def test_wire_agrees_with_the_model(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
