"""The dramatiq broker: stock workers, our wire.

One queue, ``turns``, and one actor, ``turn(v, tenant, lane, charge)``. There is no delay queue: jobs that are due later
wait in Postgres. None of dramatiq's own middleware is in use:

- Retries, AgeLimit, Callbacks and Pipelines treat messages as jobs; here they are turns, and jobs live in Postgres;
- TimeLimit and ShutdownNotifications raise exceptions inside a running thread, which cannot interrupt a blocked read
  but can tear a settlement in two. A call ends by its own timeout, and the pipeline itself ends a drain.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from dramatiq import Broker, Message, Middleware, Worker
from dramatiq.errors import QueueNotFound

from errors import ConfigurationError, InvalidInputError, ServiceError
from queues.consumer import ACTOR, QUEUE, TurnConsumer
from queues.slots import Slots
from queues.turns import TURN_VERSION, Wire

_LONGEST_BLOCK_S = 1.0


class TurnBroker(Broker):
    """A dramatiq broker over any :class:`queues.turns.Wire`. One worker a process, as dramatiq itself expects."""

    def __init__(self, wire: Wire, *, middleware: Sequence[Middleware] = ()) -> None:
        """Make the broker; nothing is connected before first use.

        :param middleware: all middleware there is, besides the broker's own; dramatiq's defaults are left out.
        """
        super().__init__(middleware=[_WorkerLife(), *middleware])
        self.wire = wire
        self.slots = Slots(0)

    def declare_queue(self, queue_name: str) -> None:
        """Declare the one queue.

        :raises ConfigurationError: it is a different queue.
        """
        if queue_name != QUEUE:
            raise ConfigurationError(
                "the wire has one queue", field="queue_name", value=queue_name, hint=f"Declare actors with {QUEUE!r}."
            )
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 1000) -> TurnConsumer:
        """Take turns for the free slots of the worker that was booted last.

        :param prefetch: ignored: a turn that is taken ahead of a free slot escapes fairness.
        :param timeout: longest time that the consumer blocks, ms; never more than a second.
        """
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]
        return TurnConsumer(self.wire, self.slots, timeout_s=min(timeout / 1000, _LONGEST_BLOCK_S))

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Offer the turn that the message describes.

        :raises InvalidInputError: it is not a turn, or it is a delayed one.
        """
        if delay is not None:
            raise InvalidInputError(
                "the wire delays nothing", field="delay", value=delay, hint="Give the job a run_at."
            )
        if message.actor_name != ACTOR:
            raise InvalidInputError("the wire carries turns only", field="actor_name", value=message.actor_name)
        if message.kwargs.get("v") != TURN_VERSION:
            raise InvalidInputError(f"must be {TURN_VERSION}", field="v", value=message.kwargs.get("v"))
        self.emit_before("enqueue", message, delay)
        self.wire.offer(message.kwargs["lane"], message.kwargs["tenant"])
        self.emit_after("enqueue", message, delay)
        return message

    def drain(self) -> None:
        """Take no more turns. Running ones go on; those taken and not started are handed back."""
        self.slots.close()
        self.wire.hold_at_most(0)
        # This only saves the consumer's thread the rest of its wait: it would notice within a second.
        with contextlib.suppress(ServiceError):
            self.wire.wake()

    def close(self) -> None:
        """Close the wire."""
        self.wire.close()


class _WorkerLife(Middleware):
    """Opens a worker's slots as it boots and closes them as it shuts down.

    The stock consumer would go on fetching while the worker's threads end one by one.
    """

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        assert isinstance(broker, TurnBroker)
        broker.slots = Slots(worker.worker_threads)

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        assert isinstance(broker, TurnBroker)
        broker.drain()
