"""A service that forks, as a program: ``python -m tests.support.forking_service WAY``, set by the environment.

It has used its client before it forks, and a thread of it is in mid-call when it does. HEADRACE_TEST_JOBS names, as
JSON, jobs and their tenants: ``[[tenant, job], …]``. Every process reads each of its own tenant's jobs and enqueues. It
ends with 0 when every answer was the one that was asked for, in the parent too.
"""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from uuid import UUID

import structlog

from producers import enqueue, result
from producers.enqueue import connect, default_client
from settings import Settings

JOBS = [(UUID(tenant), UUID(job)) for tenant, job in json.loads(os.environ.get("HEADRACE_TEST_JOBS", "[]"))]
ROUNDS = int(os.environ.get("HEADRACE_TEST_ROUNDS", "20"))
CHILDREN = 3
log = structlog.get_logger("forking")


def ask(me: int, rounds: int = ROUNDS) -> None:
    """Read one tenant's jobs again and again, and give it another."""
    tenants = sorted({tenant for tenant, _ in JOBS})
    tenant = tenants[me % len(tenants)]
    mine = [job for its, job in JOBS if its == tenant]
    for n in range(rounds):
        job = mine[n % len(mine)]
        found = result(job, tenant_id=tenant)
        assert found.job_id == job, f"asked for {job}, got {found.job_id}"
    new = enqueue(tenant_id=tenant, user_id="u", feature="chat", messages=[{"role": "user", "content": f"I am {me}"}])
    assert result(new, tenant_id=tenant).job_id == new
    log.info("asked", me=me)


def in_child(work: Callable[[], None], *, finalizers: bool = False) -> int:
    """Fork, work there, and end at once, as multiprocessing and gunicorn do, or as a program does."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:  # noqa: BLE001 (nothing of the parent's must run here)
        traceback.print_exc()
        os._exit(1)
    if finalizers:
        sys.exit(0)
    os._exit(0)


def wait_for(*pids: int) -> None:
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, f"child {pid} ended with {os.waitstatus_to_exitcode(status)}"


class InMidCall:
    """Threads of the parent that never stop asking, in mid-call whenever it forks."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=[me]) for me in range(2)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self._failed, self._failed

    def _run(self, me: int) -> None:
        while not self._stop.is_set():
            try:
                tenant, job = JOBS[me]
                assert result(job, tenant_id=tenant).job_id == job
            except BaseException as error:  # noqa: BLE001 (told in the end)
                self._failed.append(error)
                return


def fork() -> None:
    with InMidCall():
        for _ in range(2):
            wait_for(*(in_child(lambda me=me: ask(me)) for me in range(CHILDREN)))  # type: ignore[misc]
        ask(0)


def fork_twice() -> None:
    def child() -> None:
        ask(1)
        wait_for(in_child(lambda: ask(2)), in_child(lambda: ask(3)))
        ask(1)

    with InMidCall():
        wait_for(in_child(child))


def fork_in_a_thread() -> None:
    with InMidCall():
        done: list[int] = []
        thread = threading.Thread(target=lambda: done.append(in_child(lambda: ask(1))))
        thread.start()
        thread.join()
        wait_for(*done)


def locks_are_held() -> None:
    """The worst moment: other threads hold every lock of ours that a call takes."""
    client = default_client()
    held = [client._quoter_lock, client._database._opening, client._wire._cooldown._lock]  # type: ignore[attr-defined]
    with held[0], held[1], held[2], client._database._pool._lock:  # type: ignore[union-attr]
        pid = in_child(lambda: ask(1))
    wait_for(pid)


def child_does_nothing() -> None:
    """It ends, with its finalizers, and the parent's connections are as they were."""
    wait_for(in_child(lambda: None, finalizers=True))
    ask(0)
    pool = default_client()._database._pool
    assert pool is not None
    stats = pool.get_stats()
    assert (stats.get("connections_lost", 0), stats.get("connections_errors", 0)) == (0, 0)


def own_client() -> None:
    client = connect(Settings())
    tenant, job = JOBS[0]

    def look() -> None:
        for _ in range(ROUNDS):
            assert client.result(job, tenant_id=tenant).job_id == job

    look()
    children = [in_child(look) for _ in range(CHILDREN)]
    look()
    wait_for(*children)
    client.close()


def closed_client() -> None:
    client = connect(Settings())
    client.close()
    wait_for(in_child(client.close))


def every_fork() -> None:
    for one in (fork, fork_twice, fork_in_a_thread, locks_are_held, child_does_nothing, own_client, closed_client):
        one()


def exec_() -> None:
    pid = os.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-m", "tests.support.forking_service", "child_does_nothing"])
    wait_for(pid)


def pool_of(method: str) -> None:
    with multiprocessing.get_context(method).Pool(CHILDREN) as pool:
        pool.map(ask, range(CHILDREN * 2))
    ask(0)


def main(way: str) -> None:
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.alarm(60)
    ask(0)
    ways: dict[str, Callable[[], None]] = {
        "multiprocessing_fork": lambda: pool_of("fork"),
        "multiprocessing_forkserver": lambda: pool_of("forkserver"),
        "multiprocessing_spawn": lambda: pool_of("spawn"),
        "exec": exec_,
    }
    ways.get(way, globals().get(way, main))()
    default_client().close()


if __name__ == "__main__":
    main(sys.argv[1])
