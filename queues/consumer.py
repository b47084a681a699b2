"""Takes turns off the wire for the free slots of one worker process, and never one more than there are slots."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import structlog
from dramatiq import Message, MessageProxy
from dramatiq.broker import Consumer

from errors import ServiceError
from queues.lanes import LaneChooser
from queues.slots import Slots
from queues.turns import TURN_VERSION, Turn, Wire

#: The one dramatiq queue, and the one actor that its messages are for.
QUEUE: Final = "turns"
ACTOR: Final = "turn"

#: Most turns of one round trip; more than a few free slots at once are rare.
TURNS_A_ROUND: Final = 16
#: While there are more turns than slots, the share of a process's slots that is worth a round trip.
WORTH_A_ROUND: Final = 1 / 16
#: First and longest pause after the wire did not answer, s.
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 3.0

_DRAINED_PAUSE_S: Final = 0.05

log = structlog.get_logger(__name__)


class TurnConsumer(Consumer):
    """The iterator of the stock worker. Turns become messages here and never leave the process as such.

    Only its consumer thread iterates. ``ack`` and ``nack`` come from the worker threads, free the slot, and tell the
    wire without waiting for an answer: so a wire that is away delays no worker. It raises nothing when the wire fails:
    dramatiq would sleep three seconds and restart it, whereas it knows better when to try again.
    """

    def __init__(self, wire: Wire, slots: Slots, *, timeout_s: float) -> None:
        """Consume from ``wire`` as long as ``slots`` are open.

        :param timeout_s: longest time that iterating blocks, s.
        """
        self._wire = wire
        wire.hold_at_most(slots.total)
        self._slots = slots
        self._timeout_s = timeout_s
        self._lanes = LaneChooser(wire.lanes)
        self._taken: deque[Turn] = deque()
        self._failures = 0
        self._worth = int(slots.total * WORTH_A_ROUND)
        self._more = False  # the last take got as many as it asked for

    def __next__(self) -> MessageProxy | None:
        """The next message, or None when there was none for a while."""
        if self._slots.closed:
            self.close()
            time.sleep(_DRAINED_PAUSE_S)
            return None
        if not self._taken:
            self._fetch()
        return TurnMessage(self._taken.popleft()) if self._taken else None

    def ack(self, message: MessageProxy) -> None:
        """Free the slot of a message whose actor is done."""
        self._wire.done(turn_of(message))
        self._slots.release()

    def nack(self, message: MessageProxy) -> None:
        """Free the slot of a message that no actor took. The turn is used up; the sweep offers another."""
        self._wire.done(turn_of(message))
        self._slots.release()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Hand back the turns of messages that were never started."""
        self._hand_back([turn_of(message) for message in messages])

    def close(self) -> None:
        """Hand back the turns that were taken and not passed on yet."""
        turns = list(self._taken)
        self._taken.clear()
        self._hand_back(turns)

    def _fetch(self) -> None:
        free = self._slots.wait_free(self._timeout_s, worth=self._worth if self._more else 1)
        if not free:
            return
        self._more = False
        try:
            self._take(min(free, TURNS_A_ROUND))
            self._more = len(self._taken) >= min(free, TURNS_A_ROUND)
            if not self._taken:
                self._wire.wait_for_news(self._lanes.lanes, self._timeout_s)
        except ServiceError as error:
            self._pause(error)
        else:
            if self._failures:
                log.info("wire.answers_again", failures=self._failures)
                self._failures = 0

    def _take(self, free: int) -> None:
        asking = list(self._lanes.lanes)
        while free and asking:
            wanted = self._lanes.share(free, asking)
            got = {}
            for lane, n in wanted.items():
                turns = self._wire.take(lane, n)
                # At once, so that turns already taken survive a failure in the next lane.
                self._slots.occupy(len(turns))
                self._taken.extend(turns)
                got[lane] = len(turns)
            self._lanes.record(wanted, got)
            free -= sum(got.values())
            asking = [lane for lane in asking if lane not in wanted or got[lane] == wanted[lane]]

    def _pause(self, error: ServiceError) -> None:
        longest = min(FIRST_PAUSE_S * 2**self._failures, LONGEST_PAUSE_S)
        pause_s = random.uniform(longest / 2, longest)  # noqa: S311 (spreads reconnects; no secret)
        self._failures += 1
        log.warning("wire.does_not_answer", error=str(error), failures=self._failures, next_try_s=round(pause_s, 3))
        self._slots.wait_closed(pause_s)

    def _hand_back(self, turns: list[Turn]) -> None:
        if not turns:
            return
        self._slots.release(len(turns))
        try:
            for turn in turns:
                self._wire.hand_back(turn)
        except ServiceError as error:
            log.warning("wire.hand_back_lost", error=str(error), turns=len(turns))
        else:
            log.info("wire.handed_back", turns=len(turns))


class TurnMessage(MessageProxy):
    """The dramatiq message that calls the actor for a turn, and the turn."""

    def __init__(self, turn: Turn) -> None:
        kwargs = {"v": TURN_VERSION, "tenant": turn.tenant, "lane": turn.lane, "charge": turn.charge}
        message: Message[Any] = Message(queue_name=QUEUE, actor_name=ACTOR, args=(), kwargs=kwargs, options={})
        super().__init__(message)
        self.turn = turn


def turn_of(message: MessageProxy) -> Turn:
    """The turn that a message was made of."""
    assert isinstance(message, TurnMessage)
    return message.turn
