"""Takes turns off the partitions of a channel, for free slots and hardly ever one more.

There are two ways, and each is used when it is cheap:

- *Getting* (``basic.get``), while there is a backlog: as many turns as there are free slots, partition after partition.
- *Listening* (``basic.consume``), while there is none: the server pushes a new turn within a millisecond, without
  polling. Pushed turns that find no free slot within :data:`KEPT_S` go back to the server, and listening ends: so a
  busy process keeps no turn from an idle one.

*Hot* partitions had a turn when they were last asked, *cold* ones had none. Getting goes round the hot ones, one turn
each, and each take asks one cold partition first: a partition that fills up is found within as many takes as there are
partitions, and the empty ones cost one question a take.

The partition of light tenants is asked before all others, but not twice in a row while others have turns: so a light
tenant gets the next slot or the one after, and has half of them at most.

It lives in the connection's own thread, and as long as its channel. When the channel ends, every taken turn goes back
to the server and may be delivered again to any process. That is only a duplicate.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from pika.spec import Basic

from queues.rabbitmq.answers import answer
from queues.rabbitmq.partitions import (
    ALL_PARTITIONS,
    DECLARED,
    LIGHT,
    PARTITIONS,
    queue_name,
    queue_names,
    tenant_of,
)
from queues.turns import Turn

#: How long a pushed turn waits in this process for a free slot before it goes back, s. Longer than a short job, so that
#: a process with many of them goes on listening; far shorter than a call to a provider.
KEPT_S: Final = 0.05

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The means to acknowledge a turn: the channel that it came by, and its number there."""

    intake: TurnIntake
    tag: int


@dataclass(slots=True)
class _Pushed:
    turn: Turn
    partition: int
    at: float  # on Python's clock


@dataclass(slots=True)
class _Lane:
    hot: deque[int] = field(default_factory=lambda: deque(range(PARTITIONS)))
    cold: deque[int] = field(default_factory=deque)
    pushed: deque[_Pushed] = field(default_factory=deque)
    listening: bool = False
    light_was_last: bool = False  # the tenant of the last turn


@dataclass(slots=True)
class _Take:
    lane: str
    wanted: int
    future: Future[list[Turn]]
    turns: list[Turn] = field(default_factory=list)
    may_ask_cold: bool = True
    may_ask_light: bool = True


class TurnIntake:
    """The turns that one channel brings."""

    def __init__(self, channel: Any, loop: Any, lanes: Iterable[str], heard: Callable[[], None]) -> None:
        """Bring turns.

        :param loop: the connection's I/O loop, for its timers.
        :param heard: called when a turn was pushed.
        """
        self._channel = channel
        self._loop = loop
        self._heard = heard
        self._lanes = {lane: _Lane() for lane in lanes}
        self._ready = False
        self._most = 0
        self._tags: dict[str, tuple[str, int]] = {}  # consumer tag → the partition that it listens to
        self._held: set[int] = set()  # turns that came and are not acknowledged
        self._takes: deque[_Take] = deque()
        self._asked: int | None = None  # the partition whose answer to basic.get is due
        self._due: deque[str] = deque()  # the queues that owe an answer, in the order in which they were asked
        self._timer: Any = None
        channel.add_callback(self._got_nothing, [Basic.GetEmpty], one_shot=False)
        channel.add_on_cancel_callback(self._deleted)

    def begin(self) -> None:
        """Declare the partitions. Requests meanwhile wait."""
        names = [name for lane in self._lanes for name in queue_names(lane)]
        for name in names[:-1]:
            self._channel.queue_declare(name, durable=True, arguments=DECLARED, callback=lambda _frame: None)
        self._channel.queue_declare(names[-1], durable=True, arguments=DECLARED, callback=self._declared)

    def hold_at_most(self, most: int) -> None:
        """How many turns the process may hold: the server's prefetch for each partition. 0: none."""
        if most == self._most:
            return
        self._most = most
        self._stop_listening()
        if most:
            self._channel.basic_qos(prefetch_count=most, callback=lambda _frame: None)

    def take(self, lane: str, n: int, future: Future[list[Turn]]) -> None:
        """Take up to ``n`` turns; see :class:`queues.turns.Wire`."""
        self._takes.append(_Take(lane, n if self._most else 0, future))
        self._go_on()

    def listen(self, lanes: Iterable[str]) -> None:
        """Have the turns of these lanes pushed from now on."""
        if not self._ready or not self._most:
            return
        for name in lanes:
            lane = self._lanes[name]
            if not lane.listening:
                lane.listening = True
                for partition in ALL_PARTITIONS:
                    self._consume(name, partition)

    @property
    def has_pushed(self) -> bool:
        """Whether turns are here that were not taken yet."""
        return any(lane.pushed for lane in self._lanes.values())

    @property
    def silent_queue(self) -> str | None:
        """The queue whose answer is due, if any: a channel answers one question after the other."""
        return self._due[0] if self._due else None

    def done(self, tag: int) -> None:
        """Acknowledge a turn; nothing, if it was already or went back."""
        if self._settles(tag):
            self._channel.basic_ack(tag)

    def give_back(self, tag: int) -> None:
        """Put a turn back where it came from; nothing, if it is no longer here."""
        if self._settles(tag):
            self._channel.basic_nack(tag, requeue=True)

    def _settles(self, tag: int) -> bool:
        # The server closes the channel of a client that acknowledges the same message twice.
        if tag not in self._held or not self._channel.is_open:
            return False
        self._held.discard(tag)
        return True

    # -------------------------------------------------------------------------------------------------- getting

    def _declared(self, _frame: Any) -> None:
        self._ready = True
        self._heard()  # a waiting caller may listen now
        self._go_on()

    def _go_on(self) -> None:
        while self._takes and self._asked is None and self._ready and self._channel.is_open:
            take = self._takes[0]
            lane = self._lanes[take.lane]
            while lane.pushed and len(take.turns) < take.wanted:
                take.turns.append(lane.pushed.popleft().turn)
            partition = None if len(take.turns) >= take.wanted else _next(lane, take)
            if partition is None or take.future.done():
                self._takes.popleft()
                if not answer(take.future, take.turns):
                    self._give_all_back(take.turns)  # the caller gave up
                continue
            self._asked = partition
            self._due.append(queue_name(take.lane, partition))
            self._channel.basic_get(self._due[-1], callback=self._got)

    def _got(self, _channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        take, partition = self._takes[0], self._asked
        assert partition is not None
        self._asked = None
        self._due.remove(queue_name(take.lane, partition))
        _file(self._lanes[take.lane], partition, hot=True)
        self._lanes[take.lane].light_was_last = partition == LIGHT
        turn = self._turn(take.lane, method.delivery_tag, body)
        if turn is not None:
            take.turns.append(turn)
        self._go_on()

    def _got_nothing(self, _frame: Any) -> None:
        take, partition = self._takes[0], self._asked
        assert partition is not None
        self._asked = None
        self._due.remove(queue_name(take.lane, partition))
        if partition == LIGHT:
            take.may_ask_light = False
        _file(self._lanes[take.lane], partition, hot=False)
        self._go_on()

    def _turn(self, lane: str, tag: int, body: bytes) -> Turn | None:
        tenant = tenant_of(body)
        if tenant is None:
            log.warning("wire.turn_dropped", lane=lane, body=body[:200].decode(errors="replace"))
            self._channel.basic_ack(tag)
            return None
        self._held.add(tag)
        return Turn(tenant, lane, 0.0, Receipt(self, tag))

    def _give_all_back(self, turns: Iterable[Turn]) -> None:
        for turn in turns:
            assert isinstance(turn.receipt, Receipt)
            self.give_back(turn.receipt.tag)

    # ------------------------------------------------------------------------------------------------ listening

    def _consume(self, lane: str, partition: int, _frame: Any = None) -> None:
        if not self._lanes[lane].listening:
            return
        name = queue_name(lane, partition)
        self._due.append(name)
        tag = self._channel.basic_consume(
            name,
            on_message_callback=partial(self._pushed, lane, partition),
            callback=lambda _frame: self._due.remove(name),
        )
        self._tags[tag] = (lane, partition)

    def _pushed(self, lane: str, partition: int, _channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        turn = self._turn(lane, method.delivery_tag, body)
        if turn is None:
            return
        self._lanes[lane].pushed.append(_Pushed(turn, partition, time.monotonic()))
        if self._timer is None:
            self._timer = self._loop.call_later(KEPT_S, self._look_for_untaken)
        self._heard()
        self._go_on()

    def _look_for_untaken(self) -> None:
        self._timer = None
        if not self.has_pushed or not self._channel.is_open:
            return
        oldest = min(lane.pushed[0].at for lane in self._lanes.values() if lane.pushed)
        left = oldest + KEPT_S - time.monotonic()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look_for_untaken)
        else:
            self._stop_listening()

    def _stop_listening(self) -> None:
        tags, self._tags = self._tags, {}
        # With an answer each: without one, pika remembers cancelled consumers for ever.
        for tag in tags:
            self._channel.basic_cancel(tag, callback=lambda _frame: None)
        for lane in self._lanes.values():
            if lane.listening:
                lane.listening = False
                hot = {pushed.partition for pushed in lane.pushed if pushed.partition != LIGHT}
                lane.hot = deque(sorted(hot))
                lane.cold = deque(partition for partition in range(PARTITIONS) if partition not in hot)
            # From the last one on, because each goes back to the head.
            self._give_all_back([pushed.turn for pushed in reversed(lane.pushed)])
            lane.pushed.clear()

    def _deleted(self, frame: Any) -> None:
        """A queue that we listen to was deleted: recreate it."""
        where = self._tags.pop(frame.method.consumer_tag, None)
        if where is not None:
            self._channel.queue_declare(
                queue_name(*where), durable=True, arguments=DECLARED, callback=partial(self._consume, *where)
            )


def _next(lane: _Lane, take: _Take) -> int | None:
    """The partition to ask next; None when there is no hope of a turn."""
    if lane.listening:
        return None  # the server pushes the turns that there are
    if take.may_ask_light and not lane.light_was_last:
        return LIGHT
    if take.may_ask_cold and lane.cold:
        take.may_ask_cold = False
        return lane.cold.popleft()
    if lane.hot:
        return lane.hot.popleft()
    return LIGHT if take.may_ask_light else None


def _file(lane: _Lane, partition: int, *, hot: bool) -> None:
    """Remember the result of an answer. Listening may have ended meanwhile, which files every partition."""
    if partition == LIGHT:
        return  # asked each time
    for known in (lane.hot, lane.cold):
        if partition in known:
            known.remove(partition)
    (lane.hot if hot else lane.cold).append(partition)
