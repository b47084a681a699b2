"""Real servers in directories of their own, and what the tests ask about them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from console import endpoints as services
from console.endpoints import Endpoints
from embedded import paths
from settings import Settings

ROOT = Path(services.__file__).parents[1]

# A command that uses the services until its input ends, as a shell would run it.
COMMAND = """
import sys
from pathlib import Path
from console.endpoints import endpoints
from settings import Settings
settings = Settings(dir=Path(sys.argv[1]), openai_base_url="http://127.0.0.1:9/v1")
with endpoints(settings, prepare=lambda url: None) as services:
    print(services.redis_url, flush=True)
    sys.stdin.read()
"""


class Home:
    """One directory for private services, and a view of the processes that serve it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._commands: list[subprocess.Popen[str]] = []

    @property
    def place(self) -> paths.Paths:
        return paths.known_paths(paths.paths_of(self.directory))

    def start(self) -> Endpoints:
        """Start Postgres and Valkey, to stay. The schema plays no part in most tests here."""
        return services.start(self.directory, which=("postgres", "redis"), prepare=lambda url: None)

    def pids(self) -> dict[str, int]:
        """The servers' process numbers."""
        return {entry.name: entry.pid for entry in services.status(self.directory) if entry.pid is not None}

    def supervisor(self) -> psutil.Process:
        """The supervisor's process."""
        return psutil.Process(psutil.Process(self.pids()["redis"]).ppid())

    def processes(self) -> list[psutil.Process]:
        """Every process that has to do with this directory, backends included, commands that use it left out."""
        names = (str(self.directory), str(self.place.cluster), str(self.place.sockets))
        mine: dict[int, psutil.Process] = {}
        for process in sorted(psutil.process_iter(), key=lambda process: process.pid):
            with suppress(psutil.Error):
                is_named = any(name in word for name in names for word in process.cmdline())
                if process.ppid() in mine or (is_named and process.pid not in {one.pid for one in self._commands}):
                    mine[process.pid] = process
        return list(mine.values())

    def command(self, **options: object) -> subprocess.Popen[str]:
        """A process of its own that uses the services until its input is closed; returns once it has them."""
        command = self.begin_command(**options)
        assert command.stdout is not None
        assert command.stdout.readline().startswith("unix://")
        return command

    def begin_command(self, **options: object) -> subprocess.Popen[str]:
        """The same, not waiting for anything."""
        command = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(self.directory)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        self._commands.append(command)
        return command

    def remove(self) -> None:
        """Stop everything and remove every trace."""
        for command in self._commands:
            command.kill()
            command.communicate()
        here = paths.known_paths(paths.paths_of(self.directory))
        if self.directory.exists():
            services.stop(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)
        for path in (here.home, here.sockets):
            shutil.rmtree(path, ignore_errors=True)
        paths.forget(here.home)


@pytest.fixture
def home() -> Iterator[Home]:
    """An empty directory in an open place, for private services."""
    found = Home(Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp")).resolve())
    yield found
    found.remove()


@pytest.fixture(scope="module")
def lasting_home() -> Iterator[Home]:
    """A directory for a whole file's tests, each of which leaves it in a state that a start can cope with."""
    found = Home(Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp")).resolve())
    yield found
    found.remove()


@pytest.fixture
def stopped_home(lasting_home: Home) -> Home:
    """The file's directory with nothing running in it."""
    services.stop(lasting_home.directory)
    return lasting_home


@pytest.fixture
def blank() -> Settings:
    """The settings of a machine where nothing is set."""
    return Settings.model_construct(**{name: entry.default for name, entry in Settings.model_fields.items()})


@pytest.fixture
def eventually() -> Callable[..., object]:
    """Wait for something to become true, and return it."""

    def wait(what: Callable[[], object], within_s: float = 20.0) -> object:
        deadline = time.monotonic() + within_s
        while not (result := what()):
            assert time.monotonic() < deadline, f"it did not happen within {within_s:g} s"
            time.sleep(0.03)
        return result

    return wait


@pytest.fixture(scope="module")
def servers_are_well() -> Callable[[Endpoints], None]:
    """Check that Postgres and Valkey answer, and that Postgres still has what was ever committed to it."""
    committed: dict[str, int] = {}

    def check(found: Endpoints) -> None:
        url = found.require_owner()
        with psycopg.connect(url, connect_timeout=10) as connection:
            connection.execute("create table if not exists kept (note int)")
            if url in committed:
                assert connection.execute("select max(note) from kept").fetchone() == (committed[url],)
            committed[url] = committed.get(url, 0) + 1
            connection.execute("insert into kept values (%s)", [committed[url]])
        assert redis.from_url(found.redis_url).ping()

    return check
