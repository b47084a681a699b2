"""The servers that schedules play on: a private Postgres and Valkey, kept up by their supervisor."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from console import endpoints as services
from console.endpoints import Endpoints
from console.provisioning import provision
from embedded.account import for_servers
from settings import Settings
from tests.chaos.schedule import SCHEDULERS

T = TypeVar("T")

TEMPLATE = "chaos_template"
_BACK_WITHIN_S = 60.0


class Ground:
    """A private Postgres and Valkey, with a provisioned database to clone."""

    def __init__(self, directory: Path, endpoints: Endpoints) -> None:
        self.directory = directory
        self.endpoints = endpoints

    def pid(self, service: str) -> int | None:
        """The process number of ``postgres`` or ``redis``; None while its supervisor starts it again."""
        for entry in services.status(self.directory / "services"):
            if entry.name == service and entry.condition == "running":
                return entry.pid
        return None

    def url(self, role: str, database: str) -> str:
        """The URL by which a role reaches one of the databases."""
        owner = self.endpoints.require_owner()
        return owner.replace("//postgres@", f"//{role}@").replace("/headrace?", f"/{database}?")

    def retry(self, step: Callable[[psycopg.Connection[dict[str, Any]]], T], *, url: str) -> T:
        """Run a step that may be repeated on a connection of its own, until Postgres answers (within a minute)."""
        give_up = time.monotonic() + _BACK_WITHIN_S
        while True:
            try:
                with psycopg.connect(url, autocommit=True, row_factory=dict_row, connect_timeout=5) as connection:
                    return step(connection)
            except psycopg.OperationalError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.05)


@contextmanager
def ground() -> Iterator[Ground]:
    """Servers for the length of a block. The logs of a schedule that its runner left lying there stay."""
    directory = Path(tempfile.mkdtemp(prefix="headrace-chaos-"))
    directory.chmod(0o755)  # the servers' user has to get through it
    home = directory / "services"
    try:
        endpoints = services.start(
            home,
            which={"postgres", "redis"},
            settings=Settings(simulator_url="http://127.0.0.1:9"),
            prepare=lambda _owner_url: None,
        )
        ground = Ground(directory, endpoints)
        with psycopg.connect(endpoints.require_owner(), autocommit=True) as connection:
            connection.execute(f"create database {TEMPLATE}")
        provision(ground.url("postgres", TEMPLATE), lanes=Settings().lane_weights)
        with psycopg.connect(endpoints.require_owner(), autocommit=True) as connection:
            # a role for each scheduler, so that a session of Postgres tells whose it is
            for name in SCHEDULERS:
                connection.execute(f'create role "{name}" login nosuperuser nobypassrls in role headrace_ops')
        yield ground
    finally:
        services.stop(home)
        shutil.rmtree(home, ignore_errors=True)
        with contextlib.suppress(OSError):
            directory.rmdir()  # and stays when the logs of a failed schedule lie in it


def may_signal_servers() -> bool:
    """Whether this process may signal the servers: they run as ourselves, or as a system user that root made."""
    return os.geteuid() == 0 or for_servers().is_ours
