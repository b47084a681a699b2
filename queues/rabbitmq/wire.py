"""The wire on RabbitMQ: quorum queues, each shared by the tenants whose names hash to it.

A turn is a message. A taken turn stays unacknowledged until its slot is free again, so the turns of a process that dies
come back at once. A turn that comes twice only claims nothing, so the acknowledgement serves no other purpose.

This wire does without two things that the server cannot do:

- it cannot count the messages of one tenant, so it does not hold a tenant to its cap (:attr:`counts`): the caller that
  offers looks into Postgres first;
- it serves a queue in its order, so tenants are served partition by partition, one turn each, not by the cost of their
  jobs: corrections and refunds have no meaning. Tenants with few jobs have a partition of their own, so that they do
  not wait behind a flood.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from functools import partial
from typing import Any, Final, TypeVar

import forks
from errors import RabbitUnavailableError, UnknownLaneError
from queues.cooldown import Cooldown
from queues.rabbitmq.address import connection_parameters
from queues.rabbitmq.answers import answer
from queues.rabbitmq.intake import Receipt
from queues.rabbitmq.link import ChannelSession, Link, Step
from queues.rabbitmq.partitions import DECLARED, LIGHT, encode, partition_of, queue_name
from queues.rabbitmq.publisher import Parcel
from queues.rabbitmq.starving import Starving
from queues.turns import Turn, WireFacts
from reachability import why_unreached
from redaction import without_password

T = TypeVar("T")

#: Longest time that an ordinary step waits for its answer, s.
ANSWER_WITHIN_S: Final = 2.0
#: Messages a second that any server takes; how much longer a step with many of them may take.
MESSAGES_A_SECOND: Final = 500
#: Most turns that the sweep puts into an empty partition at once; it comes again when they are gone.
TURNS_A_REFILL: Final = 500
#: Longest time that one `wait_for_news` blocks, s.
LONGEST_WAIT_S: Final = 1.0

_HOLD_UNTIL_TOLD: Final = 16
_ROUND_TRIPS: Final = 5


class RabbitWire:
    """Turns on a RabbitMQ server or cluster. Thread-safe; connects at first use, once."""

    #: See :class:`queues.turns.Wire`.
    counts: Final = False

    def __init__(
        self,
        url: str,
        *,
        lanes: Mapping[str, int],
        turns_per_tenant: int = 64,
        answer_within_s: float = ANSWER_WITHIN_S,
        setting: str = "HEADRACE_BROKER_URL",
    ) -> None:
        """Describe the wire.

        :param url: ``amqp://`` or ``amqps://``.
        :param lanes: lane → weight.
        :param turns_per_tenant: most turns that one call gives a tenant.
        :param answer_within_s: how long one caller waits for the server before it counts as away.
        :param setting: where the URL is from, for the errors.
        :raises ConfigurationError: the URL cannot be read.
        """
        self._setting = setting
        self._lanes = dict(lanes)
        self._turns_per_tenant = turns_per_tenant
        self._answer_within_s = answer_within_s
        self._shown = without_password(url)
        self._most = _HOLD_UNTIL_TOLD
        self._news = threading.Event()
        self._link = Link(
            connection_parameters(url, setting=setting), lanes=self._lanes, heard=lambda: self._news.set()
        )
        forks.renew_in_child(self)
        self._cooldown = Cooldown()
        self._starving = Starving()

    def renew_in_child(self) -> None:
        """The event's lock may have been held; the link is renewed like this wire. See :mod:`forks`."""
        self._news = threading.Event()

    @property
    def turns_per_tenant(self) -> int:
        """A tenant's cap."""
        return self._turns_per_tenant

    @property
    def lanes(self) -> Mapping[str, int]:
        """The lanes and their weights."""
        return self._lanes

    def offer(self, lane: str, tenant: str, n: int = 1, *, light: bool = False) -> int:
        """Add up to ``n`` turns of one tenant; see :class:`queues.turns.Wire`."""
        return self.offer_many(lane, {tenant: n}, [tenant] if light else ())

    def offer_many(self, lane: str, turns: Mapping[str, int], light: Collection[str] = ()) -> int:
        """Add turns of many tenants; see :class:`queues.turns.Wire`. No call adds more than a tenant's cap."""
        self._check(lane)
        most = {tenant: min(n, self._turns_per_tenant) for tenant, n in turns.items()}
        return self._publish(list(_in_rounds(lane, most, set(light))))

    def refill(self, lane: str, turns: Mapping[str, int], starving: Collection[str] = ()) -> int:
        """Fill partitions that ran empty, and give a turn to starving tenants; see :class:`queues.turns.Wire`."""
        self._check(lane)
        partitions: dict[int, dict[str, int]] = defaultdict(dict)
        for tenant, n in turns.items():
            partitions[partition_of(tenant)][tenant] = min(n, self._turns_per_tenant)
        depths = self._ask(partial(_depths, lane, sorted(partitions))) if partitions else {}
        parcels: list[Parcel] = []
        fed: set[str] = set()
        for partition, wanted in partitions.items():
            if depths[partition] == 0:
                fed.update(wanted)
                share = max(1, TURNS_A_REFILL // len(wanted))
                parcels += _in_rounds(lane, {tenant: min(n, share) for tenant, n in wanted.items()})
        hungry = [tenant for tenant in starving if tenant in turns and tenant not in fed]
        marked = self._starving.to_feed(lane, hungry, time.monotonic())
        parcels += [_parcel(lane, tenant, light=True, marked=True) for tenant in marked]
        added = self._publish(parcels)
        self._starving.was_fed(lane, marked, time.monotonic())
        return added

    def hold_at_most(self, turns: int) -> None:
        """Limit the turns that the server pushes ahead for each partition; see :class:`queues.turns.Wire`."""
        self._most = turns  # the limit that each step names
        if turns == 0:
            self._link.tell(lambda session: session.intake.hold_at_most(0))

    def take(self, lane: str, n: int) -> list[Turn]:
        """Take up to ``n`` turns, one of each partition in its turn; see :class:`queues.turns.Wire`."""
        self._check(lane)

        def step(session: ChannelSession, future: Future[list[Turn]]) -> None:
            session.intake.hold_at_most(self._most)
            session.intake.take(lane, n, future)

        return self._ask(step)

    def done(self, turn: Turn) -> None:
        """Acknowledge the turn; see :class:`queues.turns.Wire`. It does not wait for an answer: after a loss the turn
        only comes again.
        """
        if isinstance(turn.receipt, Receipt):
            receipt = turn.receipt
            self._link.tell(lambda _session: receipt.intake.done(receipt.tag))

    def hand_back(self, turn: Turn) -> None:
        """Put the turn back where it was; see :class:`queues.turns.Wire`. A lost connection does the same."""
        if isinstance(turn.receipt, Receipt):
            receipt = turn.receipt
            self._link.tell(lambda _session: receipt.intake.give_back(receipt.tag))

    def correct(self, lane: str, tenant: str, delta: float, observed: float | None = None) -> None:
        """Nothing: partitions are served turn by turn, whatever a turn costs."""
        self._check(lane)

    def refund(self, turn: Turn) -> None:
        """Nothing: no turn is charged."""

    def outstanding(self, lane: str) -> Mapping[str, int]:
        """Nothing is known of single tenants, so none is named; see :attr:`counts`."""
        self._check(lane)
        return {}

    def wait_for_news(self, lanes: Iterable[str], timeout_s: float) -> bool:
        """Listen, and block until a turn is pushed, at most :data:`LONGEST_WAIT_S`; see :class:`queues.turns.Wire`."""
        wanted = list(lanes)
        for lane in wanted:
            self._check(lane)

        def step(session: ChannelSession, future: Future[bool]) -> None:
            session.intake.hold_at_most(self._most)
            session.intake.listen(wanted)
            answer(future, session.intake.has_pushed)

        if self._ask(step):
            return True
        heard = self._news.wait(min(max(timeout_s, 0.001), LONGEST_WAIT_S))
        self._news.clear()
        return heard

    def wake(self) -> None:
        """Let this wire's own :meth:`wait_for_news` return at once; see :class:`queues.turns.Wire`."""
        self._news.set()

    def facts(self) -> WireFacts:
        """Ask the server for its facts; see :class:`queues.turns.Wire`."""
        trips = []
        about: Mapping[str, object] = {}
        for _ in range(_ROUND_TRIPS):
            started = time.monotonic()
            about = self._ask(_round_trip)
            trips.append(time.monotonic() - started)
        server = f"{about.get('product', 'RabbitMQ')} {about.get('version', 'of unknown version')}"
        return WireFacts(self._shown, server, None, min(trips))

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _publish(self, parcels: list[Parcel]) -> int:
        if not parcels:
            return 0
        within_s = self._answer_within_s + len(parcels) / MESSAGES_A_SECOND
        return self._ask(lambda session, future: session.publisher.publish(parcels, future), within_s)

    def _ask(self, step: Step[T], within_s: float | None = None) -> T:
        within_s = self._answer_within_s if within_s is None else within_s
        with self._cooldown.permission() as worth_asking:
            if not worth_asking:
                raise self._unavailable("it was silent a moment ago")
            try:
                return self._link.ask(step, within_s)
            except NoAnswer as error:
                self._cooldown.begin()
                raise self._unavailable(f"no answer within {within_s:g} s") from error
            except RabbitUnavailableError as error:
                raise self._unavailable(error.message) from error

    def _check(self, lane: str) -> None:
        if lane not in self._lanes:
            raise UnknownLaneError(field="lane", value=lane, hint=f"Lanes: {', '.join(self._lanes)}.")

    def _unavailable(self, said: str) -> RabbitUnavailableError:
        why = why_unreached(said)
        return RabbitUnavailableError(
            f"RabbitMQ at {self._shown} {why.phrase}: {said}",
            hint=f"{why.hint_for(self._setting)} No job is lost meanwhile.",
            url=self._shown,
            reason=why.reason,
            setting=self._setting,
        )


def _parcel(lane: str, tenant: str, *, light: bool, marked: bool = False) -> Parcel:
    return Parcel(queue_name(lane, LIGHT if light else partition_of(tenant)), encode(lane, tenant, marked=marked))


def _in_rounds(lane: str, turns: Mapping[str, int], light: Collection[str] = ()) -> Iterator[Parcel]:
    """One turn of each tenant, then the next of each: a queue is served in its order."""
    for done in range(max(turns.values(), default=0)):
        yield from (_parcel(lane, tenant, light=tenant in light) for tenant, n in turns.items() if n > done)


def _depths(lane: str, partitions: list[int], session: ChannelSession, future: Future[dict[int, int]]) -> None:
    """How many turns lie in each partition, not counting those that a process holds."""
    depths: dict[int, int] = {}

    def counted(partition: int, frame: Any) -> None:
        depths[partition] = frame.method.message_count
        if len(depths) == len(partitions):
            answer(future, depths)

    for partition in partitions:
        # Not passively: a deleted queue is recreated, and an existing one is left as it is.
        session.channel.queue_declare(
            queue_name(lane, partition), durable=True, arguments=DECLARED, callback=partial(counted, partition)
        )


def _round_trip(session: ChannelSession, future: Future[Mapping[str, object]]) -> None:
    about = session.connection.server_properties or {}
    session.ask_something(lambda: _reply(future, about))


def _reply(future: Future[T], value: T) -> None:
    answer(future, value)
