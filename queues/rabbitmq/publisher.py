"""Puts turns on a channel and waits until the server has them: publisher confirms.

Lives in the connection's own thread, and as long as its channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from pika import BasicProperties, DeliveryMode
from pika.spec import Basic

from errors import RabbitUnavailableError
from queues.rabbitmq.answers import answer, refuse
from queues.rabbitmq.partitions import DECLARED


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message and the queue that it is for."""

    queue: str
    body: bytes


@dataclass(slots=True)
class _Publication:
    """Messages of one caller, which waits until all are confirmed."""

    future: Future[int]
    parcels: int
    unconfirmed: int


@dataclass(slots=True)
class _Sent:
    parcel: Parcel
    of: _Publication
    again: bool  # sent a second time, after its queue was recreated
    came_back: bool = False


class Publisher:
    """Publishes on one channel."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._sent: dict[int, _Sent] = {}
        self._last_tag = 0
        channel.add_on_return_callback(self._returned)

    def begin(self, then: Callable[[], None]) -> None:
        """Ask for confirms; ``then`` is called when the server agreed."""
        self._channel.confirm_delivery(self._confirmed, callback=lambda _frame: then())

    def publish(self, parcels: Sequence[Parcel], future: Future[int]) -> None:
        """Send messages; the answer is how many, once the server has them all."""
        if not parcels:
            answer(future, 0)
            return
        publication = _Publication(future, len(parcels), len(parcels))
        for parcel in parcels:
            self._send(_Sent(parcel, publication, again=False))

    def _send(self, sent: _Sent) -> None:
        self._last_tag += 1
        self._sent[self._last_tag] = sent
        self._channel.basic_publish(
            exchange="",
            routing_key=sent.parcel.queue,
            body=sent.parcel.body,
            properties=BasicProperties(delivery_mode=DeliveryMode.Persistent, message_id=str(self._last_tag)),
            mandatory=True,  # a queue that was deleted has to be noticed
        )

    def _returned(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        # The server says so just before it confirms the same message.
        sent = self._sent.get(int(properties.message_id))
        if sent is not None:
            sent.came_back = True

    def _confirmed(self, frame: Any) -> None:
        last, has_it = frame.method.delivery_tag, isinstance(frame.method, Basic.Ack)
        tags = [tag for tag in self._sent if tag <= last] if frame.method.multiple else [last]
        for tag in tags:
            sent = self._sent.pop(tag, None)
            if sent is None:
                continue
            if sent.came_back and not sent.again:
                self._channel.queue_declare(
                    sent.parcel.queue,
                    durable=True,
                    arguments=DECLARED,
                    callback=partial(self._send_again, sent),
                )
            elif sent.came_back or not has_it:
                refuse(sent.of.future, RabbitUnavailableError(f"it does not keep messages for {sent.parcel.queue}"))
            else:
                sent.of.unconfirmed -= 1
                if sent.of.unconfirmed == 0:
                    answer(sent.of.future, sent.of.parcels)

    def _send_again(self, sent: _Sent, _frame: Any) -> None:
        self._send(_Sent(sent.parcel, sent.of, again=True))
