"""How a command connects to the services: those that are set, private ones for the rest, for as long as it runs."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from console.endpoints import Endpoints, Prepare, check_whole, endpoints, private_services, status
from console.processes.logs import configure_logs
from console.set_urls import VARIABLES
from console.terminal.output import note
from embedded import paths
from embedded.launch import EVERY_SERVICE, ServiceName
from settings import Settings

_SPOKEN = {"postgres": "Postgres", "redis": "Valkey", "simulator": "provider simulator"}

_LEADS_TO_SERVICES = {*VARIABLES.values(), "HEADRACE_OPENAI_API_KEY", "HEADRACE_ANTHROPIC_API_KEY"}

DATABASE: tuple[ServiceName, ...] = ("postgres",)
DATABASE_AND_WIRE: tuple[ServiceName, ...] = ("postgres", "redis")


@contextmanager
def connect(
    settings: Settings, needs: Collection[ServiceName] = EVERY_SERVICE, *, prepare: Prepare | None = None
) -> Iterator[Endpoints]:
    """The services that a command needs; the start of a private one is announced on standard error.

    :raises ConfigurationError: the settings contradict each other, or private services cannot run here.
    :raises ServiceError: a private server did not start.
    """
    configure_logs(settings)
    check_whole(settings, needs)
    _announce(settings, needs)
    with endpoints(settings, needs=needs, prepare=prepare) as services:
        yield services


def child_environment(services: Endpoints) -> dict[str, str]:
    """Our own environment with the variables that lead to the services, and with no other variable that does.

    A variable that counts as unset here, such as a key of the simulator beside a provider that is set, must be unset in
    the child too.
    """
    kept = {name: value for name, value in os.environ.items() if name.upper() not in _LEADS_TO_SERVICES}
    return kept | services.environment()


def _announce(settings: Settings, needs: Collection[ServiceName]) -> None:
    wanted = private_services(settings) & frozenset(needs)
    if wanted:
        up = {entry.name for entry in status(settings.dir) if entry.condition in ("running", "restarting", "starting")}
        missing = [_SPOKEN[name] for name in EVERY_SERVICE if name in wanted - up]
        if missing:
            note(f"starting private {', '.join(missing)} in {paths.described(settings.dir)} …")
