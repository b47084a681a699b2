"""Every wire as one test sees them: a private server each, and what can be done to it."""

from __future__ import annotations

from typing import Protocol

from queues.broker_url import open_wire
from queues.rabbitmq.wire import RabbitWire
from queues.turns import Wire
from tests.queues.conftest import LANES
from tests.support.rabbitmq import PrivateRabbit
from tests.support.valkey import PrivateValkey
from tests.support.valkey_cluster import PrivateCluster


class Server(Protocol):
    """A wire's server."""

    @property
    def url(self) -> str: ...

    @property
    def pid(self) -> int: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...


PATIENT_S = 6.0  # for a node that flushes to a disk which other tests use as well


def open_on(server: Server, *, turns_per_tenant: int = 64) -> Wire:
    """A wire on this server."""
    if isinstance(server, PrivateRabbit):
        return RabbitWire(server.url, lanes=LANES, turns_per_tenant=turns_per_tenant, answer_within_s=PATIENT_S)
    return open_wire(server.url, lanes=LANES, turns_per_tenant=turns_per_tenant)


def wipe(server: Server) -> None:
    """Take everything off it that an operator's slip could."""
    if isinstance(server, PrivateRabbit):
        server.wipe(list(LANES))
    elif isinstance(server, PrivateCluster):
        server.flush(scripts=True)
    else:
        assert isinstance(server, PrivateValkey)
        with server.client() as client:
            client.flushall()
            client.script_flush()


def settle(server: Server) -> None:
    """Have everything there that outlives the server's being killed."""
    if isinstance(server, PrivateRabbit):
        server.settle(list(LANES))
