"""What only the wire on RabbitMQ has: partitions, acknowledgements, turns pushed ahead, the sweep by what runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import pika
import psutil
import pytest
from structlog.testing import capture_logs

from errors import ConfigurationError, RabbitUnavailableError, ServiceError
from queues.broker_url import open_wire
from queues.rabbitmq.broken import AGAIN_WITHIN_S, BrokenQueues
from queues.rabbitmq.partitions import DECLARED, PARTITIONS, encode, partition_of, queue_name, queue_names, tenant_of
from queues.rabbitmq.starving import GIVEN_AGAIN_S, STARVED_S, Starving
from queues.rabbitmq.wire import RabbitWire
from queues.turns import FEW_JOBS, Turn, is_light, within_cap
from tests.queues.conftest import LANES, eventually
from tests.support.ports import free_port
from tests.support.rabbitmq import PrivateRabbit
from tests.support.wires import PATIENT_S

LANE = "interactive"


@pytest.fixture
def open_wires(rabbit: PrivateRabbit) -> Iterator[Callable[[], RabbitWire]]:
    rabbit.wipe(list(LANES))
    wires: list[RabbitWire] = []

    def one_more() -> RabbitWire:
        wires.append(RabbitWire(rabbit.url, lanes=LANES, answer_within_s=PATIENT_S))
        wires[-1].hold_at_most(4)
        return wires[-1]

    yield one_more
    for wire in wires:
        wire.close()


@pytest.fixture
def wire(open_wires: Callable[[], RabbitWire]) -> RabbitWire:
    return open_wires()


def depth(rabbit: PrivateRabbit, tenant: str) -> int:
    """Turns in a tenant's partition that no process holds."""
    with rabbit.connect() as connection:
        queue = queue_name(LANE, partition_of(tenant))
        return int(connection.channel().queue_declare(queue, durable=True, arguments=DECLARED).method.message_count)


def of_one_partition(n: int) -> list[str]:
    """Names of tenants that share a partition."""
    names = [f"tenant-{i}" for i in range(PARTITIONS * n * 4)]
    return [name for name in names if partition_of(name) == partition_of(names[0])][:n]


# ------------------------------------------------------------------------------------------------------------- pure


def test_a_tenants_partition_is_the_same_for_ever():
    """Another release must look where this one offers."""
    assert [partition_of(f"tenant-{i}") for i in range(8)] == [9, 15, 5, 3, 0, 6, 12, 10]
    assert {partition_of(f"tenant-{i}") for i in range(1000)} == set(range(PARTITIONS))


def test_a_message_says_whose_turn_it_is_and_nothing_else_passes_for_one():
    assert encode("batch", "ada") == b'{"v":1,"tenant":"ada","lane":"batch"}'
    assert tenant_of(encode("batch", "ada", marked=True)) == "ada"
    for body in (b"", b"\xff", b"[1]", b'{"v":2,"tenant":"ada"}', b'{"v":1}', b'{"v":1,"tenant":7}'):
        assert tenant_of(body) is None


@pytest.mark.parametrize(
    ("new", "queued", "offered"),
    [(1, 1, 1), (1, 0, 1), (5, 5, 5), (1, 8, 1), (1, 9, 0), (5, 10, 3), (100, 100, 8), (100, 108, 0), (0, 4, 0)],
)
def test_no_more_turns_are_offered_than_keep_within_the_cap(new, queued, offered):
    assert within_cap(new, queued, cap=8) == offered


def test_who_has_few_jobs_is_light_whether_they_wait_or_run():
    assert is_light(queued=1, running=0)
    assert is_light(queued=1, running=FEW_JOBS - 1)
    assert not is_light(queued=1, running=FEW_JOBS)
    assert not is_light(queued=FEW_JOBS + 1, running=0)


def test_who_starves_is_fed_once_and_then_not_for_long():
    starving = Starving()
    assert starving.to_feed(LANE, ["ada"], 0.0) == []
    assert starving.to_feed(LANE, ["ada", "ben"], STARVED_S) == ["ada"]
    starving.was_fed(LANE, ["ada"], STARVED_S)
    assert starving.to_feed(LANE, ["ada", "ben"], 2 * STARVED_S) == ["ben"]
    assert starving.to_feed("batch", [], 2 * STARVED_S) == [], "another lane's sweep forgets no tenant of this one"
    assert starving.to_feed(LANE, ["ada"], STARVED_S + GIVEN_AGAIN_S) == ["ada"]
    assert starving.to_feed(LANE, [], 100.0) == []
    assert starving.to_feed(LANE, ["ada"], 101.0) == [], "it had a claim meanwhile"


# ------------------------------------------------------------------------------------------------ on a real server


@pytest.mark.rabbitmq
def test_partitions_are_durable_quorum_queues(rabbit, wire):
    wire.take(LANE, 1)
    with rabbit.connect() as connection:
        channel = connection.channel()
        for lane in LANES:
            for name in queue_names(lane):
                channel.queue_declare(name, passive=True)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="inequivalent arg"):
            channel.queue_declare(queue_name(LANE, 0), durable=True, arguments={"x-queue-type": "classic"})


@pytest.mark.rabbitmq
def test_who_only_offers_declares_nothing_but_what_it_needs(rabbit, wire):
    assert wire.offer(LANE, "ada", 2) == 2
    with rabbit.connect() as connection:
        other = (partition_of("ada") + 1) % PARTITIONS
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            connection.channel().queue_declare(queue_name(LANE, other), passive=True)
    assert depth(rabbit, "ada") == 2


@pytest.mark.rabbitmq
def test_a_turn_comes_back_until_its_slot_is_free_again(rabbit, open_wires):
    first, second = open_wires(), open_wires()
    first.offer(LANE, "ada", 2)
    done, held = first.take(LANE, 2)
    first.done(done)
    assert second.take(LANE, 2) == []
    assert held.tenant == "ada"

    first.close()  # as a process that dies would

    eventually(lambda: second.take(LANE, 2) == [Turn("ada", LANE, 0.0)])


@pytest.mark.rabbitmq
def test_a_killed_process_keeps_no_turn(rabbit, wire):
    wire.offer(LANE, "ada", 4)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from queues.broker_url import open_wire\n"
            f"wire = open_wire({rabbit.url!r}, lanes={LANES!r})\n"
            f"print(len(wire.take({LANE!r}, 4)), flush=True)\n"
            "time.sleep(60)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "4\n"
        assert wire.take(LANE, 4) == []
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    eventually(lambda: depth(rabbit, "ada") == 4)


@pytest.mark.rabbitmq
def test_a_busy_process_gives_back_what_it_was_pushed(rabbit, open_wires):
    """It listened, its slots are full now, and what comes has to go to who has a free one."""
    busy, idle = open_wires(), open_wires()
    eventually(lambda: busy.take(LANE, 1) == [] and not busy.wait_for_news(LANES, 0.1))
    idle.offer(LANE, "ada", 3)
    eventually(lambda: depth(rabbit, "ada") == 3)  # they were not taken, so they lie on the server again
    assert len(idle.take(LANE, 3)) == 3


@pytest.mark.rabbitmq
def test_a_draining_process_gives_back_at_once_and_takes_nothing(rabbit, wire):
    eventually(lambda: wire.take(LANE, 1) == [] and not wire.wait_for_news(LANES, 0.1))
    wire.hold_at_most(0)
    wire.offer(LANE, "ada", 2)
    assert wire.take(LANE, 2) == []
    assert not wire.wait_for_news(LANES, 0.05)
    eventually(lambda: depth(rabbit, "ada") == 2)
    wire.hold_at_most(4)
    turns: list[Turn] = []
    eventually(lambda: turns.extend(wire.take(LANE, 2)) or len(turns) == 2)


@pytest.mark.rabbitmq
def test_a_partition_that_was_found_empty_is_looked_at_again(wire, open_wires):
    """A busy process never listens: it has to ask, also where there was nothing a while ago."""
    flood, quiet = "tenant-0", "tenant-1"
    assert partition_of(flood) != partition_of(quiet)
    other = open_wires()
    other.offer(LANE, flood, 64)
    first = wire.take(LANE, 16)
    assert {turn.tenant for turn in first} == {flood}
    other.offer(LANE, quiet)
    taken = [turn.tenant for _ in range(PARTITIONS) for turn in wire.take(LANE, 1)]
    assert quiet in taken


@pytest.mark.rabbitmq
def test_a_light_tenant_goes_before_the_flood_that_shares_its_partition(wire, open_wires):
    flood, quiet = of_one_partition(2)
    other = open_wires()
    other.offer(LANE, flood, 64)
    assert [turn.tenant for turn in wire.take(LANE, 2)] == [flood, flood]
    other.offer(LANE, quiet, light=True)
    assert [turn.tenant for turn in wire.take(LANE, 2)] == [quiet, flood]


@pytest.mark.rabbitmq
def test_however_many_are_light_they_have_no_more_than_every_other_slot(wire, open_wires):
    light = [f"tenant-{i}" for i in range(8)]
    other = open_wires()
    other.offer(LANE, "flood", 8)
    other.offer_many(LANE, dict.fromkeys(light, 1), light)
    one_by_one = [turn.tenant for _ in range(8) for turn in wire.take(LANE, 1)]
    assert one_by_one.count("flood") == 4
    # and all of them once no other tenant has turns
    assert sorted(turn.tenant for turn in wire.take(LANE, 16)) == sorted(["flood"] * 4 + light[4:])


@pytest.mark.rabbitmq
def test_turns_of_another_version_are_dropped_loudly(rabbit, wire):
    wire.offer(LANE, "ada")
    with rabbit.connect() as connection:
        queue = queue_name(LANE, partition_of("ada"))
        connection.channel().basic_publish("", queue, b'{"v":2,"tenant":"ada"}')
    with capture_logs() as logs:
        turns: list[Turn] = []
        eventually(lambda: turns.extend(wire.take(LANE, 4)) or any(one["event"] == "wire.turn_dropped" for one in logs))
    assert [turn.tenant for turn in turns] == ["ada"]
    assert depth(rabbit, "ada") == 0
    wire.close()
    assert depth(rabbit, "ada") == 1, "only the turn that was taken and not done comes back"


@pytest.mark.rabbitmq
def test_a_tenant_whose_turns_are_lost_behind_others_gets_one_marked_turn(rabbit, wire):
    ada, ben = of_one_partition(2)
    wire.offer(LANE, ben, 3)
    wanted = {ada: 5, ben: 3}
    assert wire.refill(LANE, wanted, {ada}) == 0, "it may be about to claim"
    eventually(lambda: wire.refill(LANE, wanted, {ada}) == 1)
    for _ in range(3):
        assert wire.refill(LANE, wanted, {ada}) == 0, "one outstanding at most"
    assert [turn.tenant for turn in wire.take(LANE, 9)] == [ada, ben, ben, ben]


@pytest.mark.rabbitmq
def test_an_empty_partition_is_filled_in_rounds(wire):
    ada, ben = of_one_partition(2)
    assert wire.refill(LANE, {ada: 3, ben: 2}) == 5
    assert [turn.tenant for turn in wire.take(LANE, 9)] == [ada, ben, ada, ben, ada]


@pytest.mark.rabbitmq
def test_corrections_mean_nothing(wire):
    wire.offer(LANE, "ada", 2)
    wire.correct(LANE, "ada", 1e9, observed=5.0)
    turns = wire.take(LANE, 2)
    wire.refund(turns[0])
    assert [turn.charge for turn in turns] == [0.0, 0.0]
    assert wire.outstanding(LANE) == {}
    assert wire.counts is False


@pytest.mark.rabbitmq
def test_the_server_says_what_it_is(rabbit, wire):
    facts = wire.facts()
    assert facts.server.startswith("RabbitMQ ")
    assert facts.url == rabbit.url.replace(":guest@", ":***@")
    assert facts.eviction is None
    assert facts.round_trip_s > 0


@pytest.mark.rabbitmq
def test_a_refused_login_says_so_without_the_password(rabbit):
    wire = open_wire(rabbit.url.replace("guest:guest", "guest:hunter2"), lanes=LANES)
    with pytest.raises(RabbitUnavailableError, match="ACCESS_REFUSED") as caught:
        wire.facts()
    assert "hunter2" not in f"{caught.value} {caught.value.as_dict()} {caught.value.__cause__}"
    wire.close()


def test_nobody_there_is_said_at_once():
    wire = open_wire(f"amqp://u:hunter2@127.0.0.1:{free_port()}", lanes=LANES)
    with pytest.raises(RabbitUnavailableError, match=r"does not answer.*refused") as caught:
        wire.facts()
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"
    wire.close()
    with pytest.raises(RabbitUnavailableError, match="closed"):
        wire.facts()


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "AMQP"])
def test_schemes_that_name_the_rabbit_wire(scheme):
    wire = open_wire(f"{scheme}://somewhere/vhost", lanes={"batch": 1}, turns_per_tenant=3)
    assert isinstance(wire, RabbitWire)
    assert (wire.lanes, wire.turns_per_tenant) == ({"batch": 1}, 3)
    wire.close()


@pytest.mark.parametrize("url", ["amqp://u:hunter2@h:port", "amqp://h/v?heartbeat=often", "amqp://h/v?unknown=1"])
def test_urls_that_cannot_be_read_are_refused(url):
    with pytest.raises(ConfigurationError, match="HEADRACE_BROKER_URL") as caught:
        open_wire(url, lanes=LANES)
    assert "hunter2" not in f"{caught.value} {caught.value.as_dict()}"
    assert caught.value.__cause__ is None


@pytest.mark.rabbitmq
def test_over_tls_the_server_has_to_be_who_it_says(rabbit):
    url = f"amqps://guest:guest@localhost:{rabbit.tls_port}"
    trusting = open_wire(f"{url}?cacertfile={rabbit.certificate}&heartbeat=7", lanes={"tls": 1})
    assert trusting.offer("tls", "ada") == 1
    assert trusting.take("tls", 1) == [Turn("ada", "tls", 0.0)]
    trusting.close()
    rabbit.wipe(["tls"])
    for other in (url, f"{url.replace('localhost', '127.0.0.1')}?cacertfile={rabbit.certificate}"):
        wire = open_wire(other, lanes={"tls": 1})
        with pytest.raises(RabbitUnavailableError, match="certificate verify failed"):
            wire.facts()
        wire.close()


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
def test_a_certificate_that_cannot_be_used_is_refused_at_once(scheme, tmp_path):
    file = tmp_path / "ca.pem"
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"ca\.pem|without TLS") as caught:
            open_wire(f"{scheme}://u:hunter2@h/v?cacertfile={file}", lanes=LANES)
        assert "hunter2" not in f"{caught.value} {caught.value.as_dict()} {caught.value.__cause__}"
        file.write_text("no certificate")


@pytest.mark.rabbitmq
def test_a_queue_that_its_node_forgot_how_to_serve_is_made_anew(rabbit):
    """A node that is killed right after it declared a queue comes back with one that never answers (RabbitMQ 3.10)."""
    lanes = {"brittle": 1}
    wire = RabbitWire(rabbit.url, lanes=lanes)
    wire.hold_at_most(8)
    wire.take("brittle", 1)
    rabbit.kill()
    rabbit.start()
    waiting = {f"tenant-{i}": 1 for i in range(PARTITIONS * 4)}
    assert {partition_of(tenant) for tenant in waiting} == set(range(PARTITIONS))

    def served() -> bool:
        with suppress(ServiceError):
            wire.refill("brittle", waiting, set(waiting))
            for turn in wire.take("brittle", 16):
                waiting.pop(turn.tenant, None)
                wire.done(turn)
        return not waiting

    eventually(served, within_s=60)
    wire.close()
    rabbit.wipe(list(lanes))


def test_only_a_queue_that_costs_a_second_connection_is_taken_for_broken():
    broken = BrokenQueues()
    broken.found("a", 0.0)
    broken.found("b", 1.0)
    broken.found(None, 2.0)
    assert broken.to_mend == set()
    broken.found("a", AGAIN_WITHIN_S)
    assert broken.to_mend == {"a"}
    broken.found("b", 2.0 + AGAIN_WITHIN_S)
    assert broken.to_mend == {"a"}, "that was long ago"


@pytest.mark.rabbitmq
def test_one_connection_a_process_however_many_threads(rabbit, open_wires):
    """What the operator pays for each worker: a connection with one channel, and a thread."""
    wire = open_wires()
    wire.offer(LANE, "ada", 8)
    wire.take(LANE, 4)
    wire.wait_for_news(LANES, 0.05)
    wire.refill(LANE, {"ada": 1})
    connections = [one for one in _sockets() if one == rabbit.port]
    assert len(connections) == 1


def _sockets() -> list[int]:
    return [one.raddr.port for one in psutil.Process(os.getpid()).net_connections("tcp") if one.raddr]
