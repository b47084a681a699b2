"""A worker process in little: takes turns for four slots and prints whose they are, one a line. It ends with its input.

python -m tests.support.turn_taker amqp://…
"""

from __future__ import annotations

import os
import sys
import threading

from queues.broker_url import open_wire
from queues.consumer import TurnConsumer, turn_of
from queues.slots import Slots
from tests.queues.conftest import LANES


def main(url: str) -> None:
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    consumer = TurnConsumer(open_wire(url, lanes=LANES), Slots(4), timeout_s=0.5)
    for message in consumer:
        if message is not None:
            print(turn_of(message).tenant, flush=True)
            consumer.ack(message)


def _end_with_the_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
