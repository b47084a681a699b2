"""The one connection of a process to RabbitMQ, and the one thread that owns it.

pika's connections belong to one thread. Here that is a thread of the link's own, which sleeps in its I/O loop. A caller
that needs the server hands it a step, and waits for the answer for a bounded time. The thread keeps the connection up
by itself: it reconnects with a growing pause, for as long as it lives. While there is no connection, callers are
refused at once.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from pika import SelectConnection, URLParameters
from pika.adapters.select_connection import IOLoop
from pika.exceptions import AMQPError, StreamLostError

import forks
from errors import RabbitUnavailableError
from queues.rabbitmq.answers import refuse
from queues.rabbitmq.broken import BrokenQueues
from queues.rabbitmq.intake import TurnIntake
from queues.rabbitmq.partitions import DECLARED
from queues.rabbitmq.publisher import Publisher

T = TypeVar("T")

#: First and longest pause before another attempt to connect, s.
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 3.0

#: How often a channel that takes turns is asked for a sign of life, s, and how long it may take to give one. Heartbeats
#: are the connection's: a channel can hang on a connection that is well.
PULSE_S: Final = 1.0
PULSE_WITHIN_S: Final = 3.0

#: How long the deletion and declaration of a broken queue may take, s. The server itself gives up after five.
MENDED_WITHIN_S: Final = 15.0
#: The code with which a server closes a connection over a fault of its own.
INTERNAL_ERROR: Final = 541

_CLOSE_WITHIN_S: Final = 1.0
_JOIN_S: Final = 2.0

log = structlog.get_logger(__name__)
# Every failure is translated and reported here, once; pika itself would print each with its whole history.
logging.getLogger("pika").setLevel(logging.CRITICAL)


class ChannelSession:
    """The parts that live as long as one channel."""

    def __init__(self, channel: Any, loop: Any, lanes: Iterable[str], heard: Callable[[], None]) -> None:
        self.connection = channel.connection
        self.channel = channel
        self.publisher = Publisher(channel)
        self._intake = TurnIntake(channel, loop, lanes, heard)
        self._takes_turns = False
        self._asked_at: float | None = None  # the sign of life that is due; on Python's clock

    @property
    def intake(self) -> TurnIntake:
        """The source of turns. A process that only offers never asks, and declares nothing."""
        if not self._takes_turns:
            self._takes_turns = True
            self._intake.begin()
        return self._intake

    @property
    def silent_queue(self) -> str | None:
        """The queue that owes this channel an answer, if any."""
        return self._intake.silent_queue

    def lives(self) -> bool:
        """Ask for a sign of life, unless one is due. Returns whether one can be expected."""
        if not self._takes_turns:
            return True  # an offering caller waits for an answer anyway
        if self._asked_at is not None:
            return time.monotonic() - self._asked_at < PULSE_WITHIN_S
        self._asked_at = time.monotonic()
        self.ask_something(self._answered)
        return True

    def ask_something(self, answered: Callable[[], None]) -> None:
        """The smallest question that every server answers and that changes nothing. It is answered after all earlier
        ones.
        """
        self.channel.exchange_declare("amq.direct", passive=True, callback=lambda _frame: answered())

    def _answered(self) -> None:
        self._asked_at = None


Step = Callable[[ChannelSession, Future[T]], None]
"""A step for the connection's thread; it answers the future, now or when the server has answered."""


class Link:
    """Connects at first use. Thread-safe."""

    def __init__(self, parameters: URLParameters, *, lanes: Iterable[str], heard: Callable[[], None]) -> None:
        """Describe the connection.

        :param heard: called in the connection's thread when a turn was pushed, or the connection was lost.
        """
        self._parameters = parameters
        self._lanes = tuple(lanes)
        self._heard = heard
        self._closing = False
        self._begin_unconnected()
        forks.renew_in_child(self)

    def renew_in_child(self) -> None:
        """Drop the parent's connection, whose thread does not exist here; see :mod:`forks`."""
        for inherited in (self._loop, self._connection, self._session, self._waiting, self._unanswered):
            forks.abandon(inherited)
        self._begin_unconnected()

    def ask(self, step: Step[T], within_s: float) -> T:
        """Do a step and wait for its answer.

        :raises RabbitUnavailableError: there is no connection, or it broke.
        :raises concurrent.futures.TimeoutError: there was no answer in time.
        """
        future: Future[T] = Future()
        self._post(lambda: self._begin(step, future))
        try:
            return future.result(within_s)
        except NoAnswer:
            if future.cancel():
                # Another connection may do better, and the next caller need not find out again.
                self.tell(lambda _session: self._break_off("it left a question unanswered"))
                raise
            return future.result()  # it came just now

    def tell(self, step: Callable[[ChannelSession], None]) -> None:
        """Do a step without waiting for it; nothing is done while there is no connection."""

        def with_session() -> None:
            session = self._session
            if session is not None:
                self._attempt(lambda: step(session))

        with self._starting:
            if self._thread is not None and not self._closing:
                self._loop.add_callback_threadsafe(with_session)

    def close(self) -> None:
        """Close the connection; turns that were taken and not acknowledged go back to the server."""
        with self._starting:
            thread, self._closing = self._thread, True
            if thread is not None:
                self._loop.add_callback_threadsafe(self._shut)
        if thread is not None:
            thread.join(_JOIN_S)

    def _begin_unconnected(self) -> None:
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: Any = None
        # of the thread alone:
        self._connection: Any = None
        self._session: ChannelSession | None = None
        self._connecting = True
        self._waiting: list[tuple[Step[Any], Future[Any]]] = []
        self._unanswered: set[Future[Any]] = set()
        self._failures = 0
        self._why = "never connected"
        self._first_fault: str | None = None  # the reason for which we closed the connection
        self._gave_up = False  # since the server left us without an answer
        self._blocked = False  # it reads nothing from us: it is short of memory or disk
        self._broken = BrokenQueues()

    def _post(self, step: Callable[[], None]) -> None:
        with self._starting:
            if self._closing:
                raise RabbitUnavailableError("it was closed")
            if self._thread is None:
                self._loop = IOLoop()
                self._thread = threading.Thread(target=self._run, name="rabbitmq", daemon=True)
                self._thread.start()
            self._loop.add_callback_threadsafe(step)

    # ------------------------------------------------------------------------------ in the connection's own thread

    def _run(self) -> None:
        while True:
            loop = self._loop
            try:
                self._connect()
                loop.start()
            except Exception:  # the thread's outermost loop: a fault must not end the wire
                log.exception("wire.fault")
            with self._starting:
                closing = self._closing
                if not closing:
                    self._loop = IOLoop()
            self._lost("it was closed" if closing else "a fault of ours")
            loop.close()
            if closing:
                return

    def _connect(self) -> None:
        self._connecting = True
        self._connection = SelectConnection(
            self._parameters,
            on_open_callback=self._opened,
            on_open_error_callback=lambda _connection, error: self._closed(error),
            on_close_callback=lambda _connection, error: self._closed(error),
            custom_ioloop=self._loop,
        )

    def _opened(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(lambda *_said: self._note_blocked(True))
        connection.add_on_connection_unblocked_callback(lambda *_said: self._note_blocked(False))
        if self._broken.to_mend:
            connection.channel(on_open_callback=self._mend)
        else:
            connection.channel(on_open_callback=self._channel_opened)

    def _note_blocked(self, blocked: bool) -> None:
        self._blocked = blocked

    def _mend(self, channel: Any) -> None:
        # No other step is done meanwhile: a caller that asks a broken queue gets no answer.
        channel.add_on_close_callback(self._channel_closed)
        name = self._broken.to_mend.pop()
        log.warning("wire.queue_made_anew", queue=name)
        made = partial(channel.queue_declare, name, durable=True, arguments=DECLARED)
        channel.queue_delete(name, callback=lambda _frame: made(callback=lambda _frame: self._mended(channel)))
        self._loop.call_later(MENDED_WITHIN_S, partial(self._give_mending_up, channel))

    def _mended(self, channel: Any) -> None:
        # The next queue in a new connection, because this one ends with its channel.
        self._first_fault = "a queue was recreated"
        channel.connection.close()

    def _give_mending_up(self, channel: Any) -> None:
        if channel.connection is self._connection and channel.is_open:
            self._break_off("a broken queue can neither be used nor deleted")

    def _channel_opened(self, channel: Any) -> None:
        channel.add_on_close_callback(self._channel_closed)
        session = ChannelSession(channel, self._loop, self._lanes, self._heard)
        session.publisher.begin(lambda: self._ready(session))

    def _ready(self, session: ChannelSession) -> None:
        self._session, self._connecting = session, False
        if self._failures:
            log.info("wire.connected_again", failures=self._failures)
            self._failures = 0
        waiting, self._waiting = self._waiting, []
        for step, future in waiting:
            self._begin(step, future)
        self._loop.call_later(PULSE_S, partial(self._feel_pulse, session))

    def _feel_pulse(self, session: ChannelSession) -> None:
        if session is not self._session or not session.channel.is_open:
            return
        if session.lives():
            self._loop.call_later(PULSE_S, partial(self._feel_pulse, session))
        else:
            self._break_off("its channel answers nothing")

    def _break_off(self, why: str) -> None:
        # An orderly close would need answers too. pika has no public way to close without them.
        self._first_fault, self._gave_up = why, True
        self._connection._terminate_stream(StreamLostError(why))

    def _begin(self, step: Step[Any], future: Future[Any]) -> None:
        if self._session is not None:
            self._unanswered.add(future)
            future.add_done_callback(self._unanswered.discard)
            session = self._session
            if not self._attempt(lambda: step(session, future)):
                refuse(future, RabbitUnavailableError(self._why))
        elif self._connecting:
            self._waiting.append((step, future))
        else:
            refuse(future, RabbitUnavailableError(self._why))

    def _attempt(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except AMQPError as error:  # the channel is about to be closed, and that event will follow
            self._why = _said(error)
            return False
        return True

    def _channel_closed(self, channel: Any, error: Exception) -> None:
        # Everything starts afresh: the server's state may not be what we believe.
        self._first_fault = _said(error)
        if channel.connection.is_open:
            channel.connection.close()

    def _closed(self, error: Exception) -> None:
        fault = self._gave_up or getattr(error, "reply_code", None) == INTERNAL_ERROR
        if self._session is not None and fault and not self._blocked:
            self._broken.found(self._session.silent_queue, time.monotonic())
        self._gave_up = self._blocked = False
        self._lost(self._first_fault or _said(error))
        self._first_fault = None
        if self._closing:
            self._loop.stop()
            return
        longest = min(FIRST_PAUSE_S * 2**self._failures, LONGEST_PAUSE_S)
        pause_s = random.uniform(longest / 2, longest)  # noqa: S311 (spreads reconnects; no secret)
        self._failures += 1
        log.warning("wire.disconnected", error=self._why, failures=self._failures, next_try_s=round(pause_s, 3))
        self._loop.call_later(pause_s, self._connect)

    def _lost(self, why: str) -> None:
        self._session, self._connecting, self._why = None, False, why
        waiting, self._waiting = self._waiting, []
        for future in [*self._unanswered, *(future for _, future in waiting)]:
            refuse(future, RabbitUnavailableError(why))
        self._heard()

    def _shut(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
            self._loop.call_later(_CLOSE_WITHIN_S, self._loop.stop)
        else:
            self._loop.stop()


def _said(error: BaseException) -> str:
    """The text of an error of pika's, without the layers that it is wrapped in."""
    inner = [*getattr(error, "exceptions", ()), getattr(error, "exception", None), *error.args]
    for one in inner:
        if isinstance(one, BaseException):
            return _said(one)
    text = str(error) or repr(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
