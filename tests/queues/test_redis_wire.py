"""The wire's own manners: caps, news, errors, a server that comes and goes."""

from __future__ import annotations

import math
import os
import signal
import threading

import pytest

from errors import ConfigurationError, InvalidInputError, RedisUnavailableError, UnknownLaneError
from queues.broker_url import open_wire
from queues.redis.wire import MOST_NEWS, PREFIX, TENANTS_A_CALL, RedisWire
from queues.turns import Turn
from tests.queues.conftest import LANES, eventually

LANE = "interactive"


def test_turns_are_capped_per_tenant_and_lane(wire):
    assert wire.offer(LANE, "ada", 100) == 64
    assert wire.offer(LANE, "ada") == 0
    assert wire.offer("batch", "ada", 2) == 2
    assert len(wire.take(LANE, 200)) == 64


def test_a_call_takes_any_number_of_tenants(wire):
    many = {f"tenant-{i}": 2 for i in range(2 * TENANTS_A_CALL + 1)}
    assert wire.offer_many(LANE, many) == 2 * len(many)
    assert wire.refill(LANE, dict.fromkeys(many, 3)) == len(many)
    assert wire.refill(LANE, {}) == 0
    assert len(wire.take(LANE, 10_000)) == 3 * len(many)


def test_taking_nothing_gives_nothing(wire):
    wire.offer(LANE, "ada")
    assert wire.take(LANE, 0) == []
    assert wire.take(LANE, 2) == [Turn("ada", LANE, 1000.0)]
    assert wire.take(LANE, 2) == []


def test_news_of_an_offer_is_kept_until_somebody_listens(wire):
    assert not wire.wait_for_news(LANES, 0.01)
    wire.offer("batch", "ada")
    assert wire.wait_for_news(LANES, 0.01)
    assert not wire.wait_for_news(LANES, 0.01)


def test_who_leaves_turns_behind_passes_the_news_on(wire):
    wire.offer(LANE, "ada", 3)
    assert wire.wait_for_news([LANE], 0.01)

    wire.take(LANE, 1)
    assert wire.wait_for_news([LANE], 0.01), "two turns are left and another process may be idle"
    wire.take(LANE, 1)
    wire.take(LANE, 1)
    assert not wire.wait_for_news([LANE], 0.01), "nothing is left to be told of"


def test_who_heard_of_one_lane_and_took_from_another_passes_the_news_on(wire):
    wire.offer("batch", "ada", 5)
    wire.offer(LANE, "ada")
    assert wire.wait_for_news(["batch"], 0.01)

    wire.take(LANE, 1)

    assert wire.wait_for_news(["batch"], 0.01)
    assert not wire.wait_for_news([LANE], 0.01)


def test_offers_that_add_nothing_are_no_news(wire):
    wire.offer(LANE, "ada", 64)
    assert wire.wait_for_news([LANE], 0.01)
    wire.offer(LANE, "ada")
    wire.refill(LANE, {"ada": 64})
    assert not wire.wait_for_news([LANE], 0.01)


def test_news_does_not_pile_up(wire, client):
    for i in range(3 * MOST_NEWS):
        wire.offer(LANE, f"tenant-{i}")
    assert client.llen(f"{PREFIX}:{LANE}:news") == MOST_NEWS


@pytest.mark.parametrize("cause", ["offer", "refill", "wake"])
def test_a_blocked_listener_is_woken(valkey, wire, client, blocked_clients, cause):
    heard = []
    listener = threading.Thread(target=lambda: heard.append(wire.wait_for_news(LANES, 1)))
    listener.start()
    blocked_clients(1)

    if cause == "wake":
        wire.wake()
    else:
        {"offer": wire.offer_many, "refill": wire.refill}[cause](LANE, {"ada": 1})

    listener.join(10)
    assert heard == [True]


def test_waking_one_process_wakes_no_other(valkey, wire, client):
    other = RedisWire(valkey.url, lanes=LANES)
    other.wake()
    (key,) = client.keys(f"{PREFIX}:wake:*")
    assert client.ttl(key) > 0, "it expires if there is no listener"
    assert not wire.wait_for_news(LANES, 0.01)
    assert other.wait_for_news(LANES, 0.01)
    other.close()


@pytest.mark.parametrize("field", ["delta", "observed"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_corrections_have_to_be_numbers(wire, field, value):
    with pytest.raises(InvalidInputError, match=field):
        wire.correct(LANE, "ada", **({"delta": 1.0} | {field: value}))


def test_a_slip_of_many_magnitudes_does_not_move_the_virtual_time_out_of_reach(wire, client):
    wire.offer(LANE, "ada", 2)
    wire.correct(LANE, "ada", 1e300)
    wire.take(LANE, 2)
    assert float(client.get(f"{PREFIX}:{LANE}:clock")) < 2**34


def test_what_tenants_cost_is_not_kept_for_ever(wire, client, monkeypatch):
    """Beyond the bound, those that are long gone are forgotten. A tenant that has turns, or had some lately, is not."""
    monkeypatch.setattr("queues.redis.wire.MOST_KNOWN", 20)
    wire.offer(LANE, "has-turns")
    wire.correct(LANE, "has-turns", 0.0, 7.0)
    wire.offer(LANE, "had-some", 1)
    wire.correct(LANE, "had-some", 0.0, 7.0)
    for n in range(300):
        wire.correct(LANE, f"gone-{n}", 0.0, 5.0)

    known = client.hkeys(f"{PREFIX}:{LANE}:costs")

    assert len(known) < 40
    assert {"has-turns", "had-some"} <= {one.decode() if isinstance(one, bytes) else one for one in known}


def test_unknown_lane_is_refused_by_name(wire):
    for call in (
        lambda: wire.offer("express", "ada"),
        lambda: wire.take("express", 1),
        lambda: wire.correct("express", "ada", 1),
        lambda: wire.wait_for_news(["express"], 0.01),
    ):
        with pytest.raises(UnknownLaneError, match="express"):
            call()


def test_a_server_that_is_away_and_back(mortal_valkey):
    wire = RedisWire(mortal_valkey.url, lanes=LANES)
    wire.offer(LANE, "ada", 3)
    mortal_valkey.kill()
    for call in (
        lambda: wire.offer(LANE, "ada"),
        lambda: wire.refill(LANE, {"ada": 1}),
        lambda: wire.take(LANE, 1),
        lambda: wire.correct(LANE, "ada", 1),
        lambda: wire.wait_for_news(LANES, 0.01),
        wire.wake,
    ):
        with pytest.raises(RedisUnavailableError, match="does not answer"):
            call()

    mortal_valkey.start()

    assert wire.take(LANE, 1) == [], "the wire forgot"
    assert wire.refill(LANE, {"ada": 3}) == 3
    assert len(wire.take(LANE, 5)) == 3
    wire.close()


def test_a_frozen_server_costs_one_caller_its_time_limit_and_the_others_nothing(mortal_valkey):
    wire = RedisWire(mortal_valkey.url, lanes=LANES)
    wire.offer(LANE, "ada")
    os.kill(mortal_valkey.pid, signal.SIGSTOP)
    try:
        with pytest.raises(RedisUnavailableError, match=r"[Tt]imeout"):
            wire.offer(LANE, "ada")
        for _ in range(20):  # each of them would else wait two seconds
            with pytest.raises(RedisUnavailableError, match="silent a moment ago"):
                wire.offer(LANE, "ada")
    finally:
        os.kill(mortal_valkey.pid, signal.SIGCONT)
    eventually(lambda: _answers(wire))
    wire.close()


def _answers(wire):
    try:
        return wire.offer(LANE, "bob")
    except RedisUnavailableError:
        return 0


def test_an_error_shows_no_password(mortal_valkey):
    mortal_valkey.kill()
    wire = RedisWire(f"unix://someone:hunter2@{mortal_valkey.socket}?password=hunter2", lanes=LANES)
    with pytest.raises(RedisUnavailableError) as caught:
        wire.take(LANE, 1)
    assert "hunter2" not in f"{caught.value} {caught.value.as_dict()}"
    assert str(mortal_valkey.socket) in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys", "unix", "REDIS"])
def test_schemes_that_name_the_redis_wire(scheme):
    wire = open_wire(f"{scheme}://localhost/0", lanes={"batch": 1}, turns_per_tenant=3)
    assert isinstance(wire, RedisWire)
    assert wire.lanes == {"batch": 1}
    wire.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hunter2@h",
        "amqp://u:hunter2@h:port",
        "amqps://u:hunter2/x@h",
        "u:hunter2@h",
        "localhost:6379",
        "",
        "redis",
        "redis://h:port/0",
        "redis://:hunter2/x@h",
    ],
)
def test_other_urls_are_refused(url):
    with pytest.raises(ConfigurationError, match="HEADRACE_BROKER_URL") as caught:
        open_wire(url, lanes=LANES)
    assert "hunter2" not in f"{caught.value} {caught.value.as_dict()}"
    assert caught.value.__cause__ is None
