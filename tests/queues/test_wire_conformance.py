"""What every wire has to do, whatever stands behind it: one suite, each wire, a private server each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from errors import ServiceError, UnknownLaneError
from queues.consumer import TurnConsumer
from queues.slots import Slots
from queues.turns import Turn, Wire
from tests.queues.conftest import LANES, eventually
from tests.support.wires import Server, open_on, settle, wipe

LANE = "interactive"
SERVERS = [
    pytest.param("valkey", id="redis"),
    pytest.param("cluster", id="cluster"),
    pytest.param("rabbit", id="rabbitmq", marks=pytest.mark.rabbitmq),
]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    """The session's server of each kind, wiped for each test."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def mortal(server: Server) -> Server:
    """The same for tests that kill it, and start it again. It is not wiped, so turns of other tests may be there."""
    settle(server)
    return server


@pytest.fixture
def open_wires(server: Server) -> Iterator[Callable[..., Wire]]:
    """Opens wires on a wiped server, as if each were another process."""
    wipe(server)
    wires: list[Wire] = []

    def one_more(**options: int) -> Wire:
        wires.append(open_on(server, **options))
        wires[-1].hold_at_most(64)
        return wires[-1]

    yield one_more
    for wire in wires:
        wire.close()


@pytest.fixture
def mortal_wire(mortal: Server) -> Iterator[Wire]:
    wire = open_on(mortal)
    wire.hold_at_most(64)
    yield wire
    wire.close()


@pytest.fixture
def wire(open_wires: Callable[..., Wire]) -> Wire:
    return open_wires()


def take(wire: Wire, n: int, lane: str = LANE) -> list[Turn]:
    """So many turns, as soon as they are there."""
    turns: list[Turn] = []

    def enough() -> bool:
        turns.extend(wire.take(lane, n - len(turns)))
        return len(turns) == n

    eventually(enough)
    return turns


def tenants(turns: list[Turn]) -> Counter[str]:
    return Counter(turn.tenant for turn in turns)


# ---------------------------------------------------------------------------------------------------- offer and take


def test_what_is_offered_is_taken(wire):
    assert wire.offer(LANE, "ada", 3) == 3
    assert wire.offer_many(LANE, {"ben": 2, "eve": 1}) == 3
    turns = take(wire, 6)
    assert tenants(turns) == {"ada": 3, "ben": 2, "eve": 1}
    assert {turn.lane for turn in turns} == {LANE}
    for turn in turns:
        wire.done(turn)
    assert wire.take(LANE, 5) == []


def test_nothing_offered_is_nothing_taken(wire):
    assert wire.take(LANE, 5) == []
    assert wire.offer_many(LANE, {}) == 0
    assert wire.refill(LANE, {}) == 0
    wire.offer(LANE, "ada")
    assert wire.take(LANE, 0) == []
    take(wire, 1)


def test_no_call_gives_a_tenant_more_than_its_cap(wire, open_wires):
    small = open_wires(turns_per_tenant=3)
    assert (wire.turns_per_tenant, small.turns_per_tenant) == (64, 3)
    assert small.offer(LANE, "ada", 100) == 3
    assert small.refill(LANE, {"ada": 100, "ben": 1}) in (0, 1)
    if wire.counts:
        assert small.offer(LANE, "ada") == 0
        assert wire.outstanding(LANE)["ada"] == 3


def test_no_more_are_taken_than_asked_for(wire, open_wires):
    other = open_wires()
    wire.offer(LANE, "ada", 5)
    assert len(take(wire, 2)) == 2
    assert len(take(other, 3)) == 3, "what one process did not ask for, another one gets"
    assert wire.take(LANE, 5) == other.take(LANE, 5) == []


def test_lanes_are_apart(wire):
    wire.offer("batch", "ada")
    wire.offer(LANE, "ben")
    assert tenants(take(wire, 1)) == {"ben": 1}
    assert wire.take(LANE, 5) == []
    assert tenants(take(wire, 1, "batch")) == {"ada": 1}


def test_every_tenant_is_served_before_a_flood_is(wire):
    flooding = ["flood-1", "flood-2"]
    wire.offer_many(LANE, dict.fromkeys(flooding, 64))
    wire.offer_many(LANE, {f"tenant-{i}": 1 for i in range(8)})
    served = tenants(take(wire, 2 * 64 + 8))
    assert len(served) == 10
    assert all(served[tenant] == 64 for tenant in flooding)


def test_unknown_lanes_are_refused_by_name(wire):
    for call in (
        lambda: wire.offer("express", "ada"),
        lambda: wire.refill("express", {"ada": 1}),
        lambda: wire.take("express", 1),
        lambda: wire.correct("express", "ada", 1),
        lambda: wire.outstanding("express"),
        lambda: wire.wait_for_news(["express"], 0.01),
    ):
        with pytest.raises(UnknownLaneError, match="express"):
            call()


# ---------------------------------------------------------------------------------------------------------- the sweep


def test_the_sweep_may_come_again_and_again(wire):
    wanted = {f"tenant-{i}": 1 + i % 5 for i in range(20)}
    assert wire.refill(LANE, wanted) == sum(wanted.values())
    for _ in range(3):
        assert wire.refill(LANE, wanted) == 0
    assert tenants(take(wire, sum(wanted.values()))) == wanted
    assert wire.refill(LANE, {"tenant-1": 2}) == 2


@pytest.mark.parametrize("step", ["before", "between offer and take", "between take and done", "while listening"])
def test_a_wiped_server_is_filled_by_the_sweep_alone(server, wire, step):
    turns = []
    if step != "before":
        wire.offer(LANE, "ada", 3)
    if step == "between take and done":
        turns = take(wire, 2)
    if step == "while listening":
        take(wire, 3)
        wire.wait_for_news(LANES, 0.05)

    wipe(server)

    for turn in turns:
        wire.done(turn)
    got: list[Turn] = []

    def served() -> bool:
        with suppress(ServiceError):  # a queue that is gone costs a connection
            wire.refill(LANE, {"ada": 4, "ben": 2})
            got.extend(wire.take(LANE, 16))
        return {"ada", "ben"} == set(tenants(got)) and tenants(got)["ada"] >= 4 and tenants(got)["ben"] >= 2

    eventually(served, within_s=20)


# ------------------------------------------------------------------------------------------------------ what is taken


def test_a_turn_handed_back_is_somebody_elses(wire, open_wires):
    other = open_wires()
    wire.offer(LANE, "ada", 2)
    first, second = take(wire, 2)
    wire.hand_back(first)
    assert tenants(take(other, 1)) == {"ada": 1}
    wire.done(second)


def test_saying_it_twice_is_harmless(wire, open_wires):
    gone = open_wires()
    wire.offer(LANE, "ada", 3)
    (stale,) = take(gone, 1)
    gone.close()
    turns = take(wire, 2)
    for turn in [*turns, *turns, stale]:
        wire.done(turn)
    wire.hand_back(Turn("ben", LANE, 0.0))  # a turn that no wire has given
    wire.offer(LANE, "eve")
    eventually(lambda: "eve" in tenants(wire.take(LANE, 5)))


def test_no_turn_is_lost_when_a_consumer_closes(wire, open_wires):
    other = open_wires()
    other.offer_many(LANE, {"ada": 3, "ben": 1})
    slots = Slots(4)
    consumer = TurnConsumer(wire, slots, timeout_s=0.1)
    started: list = []
    eventually(lambda: started.append(next(consumer)) or started[-1] is not None)
    slots.close()
    assert next(consumer) is None
    consumer.requeue([started[-1]])
    wire.hold_at_most(0)
    assert slots.occupied == 0

    assert tenants(take(other, 4)) == {"ada": 3, "ben": 1}


# -------------------------------------------------------------------------------------------------------------- news


@contextmanager
def listening(wire: Wire) -> Iterator[list[bool]]:
    """A thread that waits until it hears something; what each wait said. It has to end within ten seconds."""
    heard: list[bool] = []
    ready = threading.Event()

    def listen() -> None:
        until = time.monotonic() + 10
        while time.monotonic() < until and True not in heard:
            ready.set()
            heard.append(wire.wait_for_news(LANES, 1))

    eventually(lambda: wire.take(LANE, 1) == [] and not wire.wait_for_news(LANES, 0.05))
    thread = threading.Thread(target=listen)
    thread.start()
    assert ready.wait(10)
    yield heard
    thread.join(20)
    assert not thread.is_alive()
    assert heard[-1]


@pytest.mark.parametrize("cause", ["offer_many", "refill"])
@pytest.mark.parametrize("lane", LANES)
def test_a_blocked_consumer_hears_of_turns(wire, open_wires, cause, lane):
    other = open_wires()
    with listening(wire):
        assert getattr(other, cause)(lane, {"ada": 1}) == 1
    assert tenants(take(wire, 1, lane)) == {"ada": 1}


def test_a_blocked_consumer_is_woken(wire):
    with listening(wire):
        wire.wake()


def test_news_is_kept_until_somebody_listens(wire, open_wires):
    open_wires().offer(LANE, "ada")
    eventually(lambda: wire.wait_for_news(LANES, 0.5))
    take(wire, 1)


def test_a_turn_is_kept_from_nobody(wire, open_wires):
    """One process listened and takes nothing any more: what came to it ahead goes to who has a free slot."""
    eventually(lambda: wire.take(LANE, 1) == [] and not wire.wait_for_news(LANES, 0.05))
    other = open_wires()
    other.offer_many(LANE, {f"tenant-{i}": 4 for i in range(10)})
    assert len(take(other, 40)) == 40


# ------------------------------------------------------------------------------------------- servers that come and go


def test_a_server_that_is_away_and_back(mortal, mortal_wire):
    mortal_wire.offer(LANE, "ada", 3)
    (held,) = take(mortal_wire, 1)
    mortal.kill()
    try:
        for call in (
            lambda: mortal_wire.offer(LANE, "ada"),
            lambda: mortal_wire.refill(LANE, {"ada": 1}),
            lambda: mortal_wire.take(LANE, 1),
            lambda: mortal_wire.wait_for_news(LANES, 0.01),
            mortal_wire.facts,
        ):
            with pytest.raises(ServiceError, match="does not answer") as caught:
                call()
            assert "guest:guest" not in f"{caught.value} {caught.value.as_dict()} {caught.value.__cause__}"
        mortal_wire.done(held)  # no caller waits for that
    finally:
        mortal.start()

    turns: list[Turn] = []

    def served() -> bool:
        with suppress(ServiceError):
            mortal_wire.refill(LANE, {"ada": 3})
            turns.extend(mortal_wire.take(LANE, 3))
        return len(turns) >= 3

    eventually(served, within_s=20)


def test_a_frozen_server_costs_one_caller_its_time_limit_and_the_others_nothing(mortal, mortal_wire):
    mortal_wire.offer(LANE, "ada")
    os.kill(mortal.pid, signal.SIGSTOP)
    try:
        with pytest.raises(ServiceError, match=r"[Tt]imeout|no answer"):
            mortal_wire.offer(LANE, "ada")
        for _ in range(20):  # each of them would else wait two seconds
            with pytest.raises(ServiceError, match="silent a moment ago"):
                mortal_wire.offer(LANE, "ada")
    finally:
        os.kill(mortal.pid, signal.SIGCONT)

    def answers() -> bool:
        with suppress(ServiceError):
            return bool(mortal_wire.offer(LANE, "ben"))
        return False

    eventually(answers, within_s=20)


class Ledger:
    """Jobs by tenant, as Postgres would know them; a turn of a tenant ends one, if there is one."""

    def __init__(self, jobs: dict[str, int]) -> None:
        self.left = Counter(jobs)
        self.empty_claims = 0
        self._lock = threading.Lock()

    def claim(self, tenant: str) -> None:
        with self._lock:
            if self.left[tenant]:
                self.left[tenant] -= 1
            else:
                self.empty_claims += 1

    @property
    def queued(self) -> dict[str, int]:
        with self._lock:
            return {tenant: n for tenant, n in self.left.items() if n}


@contextmanager
def takers(url: str, n: int, ledger: Ledger) -> Iterator[None]:
    """So many processes that take turns."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.turn_taker", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(n)
    ]

    def read(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("tenant-"):
                ledger.claim(line.strip())
            else:
                print(line, end="")  # its log, for the reader of a failure

    readers = [threading.Thread(target=read, args=[process]) for process in processes]
    for reader in readers:
        reader.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for reader in readers:
            reader.join()


def serve(url: str, wire: Wire, halfway: Callable[[], object]) -> None:
    """Three processes, and a sweep that goes by what is left, as in life; the server is hurt in the middle."""
    ledger = Ledger({f"tenant-{i}": 40 for i in range(10)})
    whole = sum(ledger.queued.values())

    def sweep() -> bool:
        queued = ledger.queued
        with suppress(ServiceError):
            if queued:
                wire.refill(LANE, {tenant: min(n, 8) for tenant, n in queued.items()}, set(queued))
        time.sleep(0.1)  # a sweep's pace; nothing depends on it
        return not ledger.queued

    with takers(url, 3, ledger):
        eventually(lambda: sweep() or sum(ledger.queued.values()) < whole * 0.7, within_s=60)
        halfway()
        eventually(sweep, within_s=90)


def test_several_processes_serve_every_tenant_though_the_server_is_wiped(server, wire):
    serve(server.url, wire, lambda: wipe(server))


def test_several_processes_serve_every_tenant_though_the_server_is_killed(mortal, mortal_wire):
    def die_and_return() -> None:
        mortal.kill()
        mortal.start()

    serve(mortal.url, mortal_wire, die_and_return)
