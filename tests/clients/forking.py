"""A service with the light client that forks, as a program: ``python forking.py WAY``.

Nothing of Headrace is beside it. It has used its clients before it forks, and threads of it are in mid-call when it
does. TENANTS names tenants. Every process asks for what it enqueued itself. The program ends with 0 when each answer
was the one that was asked for, in the parent too.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from uuid import UUID

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()  # before anything else: what was imported unpatched would block every greenlet

from headrace_client import AsyncClient, Client, aenqueue, aresult, enqueue, result

TENANTS = [UUID(one) for one in json.loads(os.environ["TENANTS"])]
MESSAGES = [{"role": "user", "content": "Hello"}]


def ask(me: int) -> None:
    """Enqueue for one tenant, and read each job."""
    tenant = TENANTS[me % len(TENANTS)]
    for _ in range(4):
        job_id = enqueue(tenant_id=tenant, user_id=f"u-{me}", feature="chat", messages=MESSAGES)
        assert result(job_id, tenant_id=tenant).job_id == job_id


async def ask_in_tasks(me: int) -> None:
    async def one() -> None:
        tenant = TENANTS[me % len(TENANTS)]
        job_id = await aenqueue(tenant_id=tenant, user_id=f"u-{me}", feature="chat", messages=MESSAGES)
        assert (await aresult(job_id, tenant_id=tenant)).job_id == job_id

    await asyncio.gather(*(one() for _ in range(8)))


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


def while_others_ask(work: Callable[[], None]) -> None:
    """Threads of the parent never stop asking, so that some are in mid-call whenever it forks."""
    stop, failed = threading.Event(), []

    def go_on(me: int) -> None:
        try:
            while not stop.is_set():
                ask(me)
        except BaseException as error:  # noqa: BLE001 (told in the end)
            failed.append(error)

    threads = [threading.Thread(target=go_on, args=[me]) for me in range(6)]  # more than there are connections
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed, failed


def fork() -> None:
    def child() -> None:
        ask(1)
        asyncio.run(ask_in_tasks(2))
        wait_for(in_child(lambda: ask(2)))
        ask(1)

    while_others_ask(lambda: wait_for(*(in_child(child) for _ in range(3))))
    # a child that ends with its finalizers leaves the parent's connections as they were
    wait_for(in_child(lambda: None, finalizers=True), in_child(lambda: ask(0), finalizers=True))
    ask(0)
    own = Client()
    own.enqueue(tenant_id=TENANTS[0], user_id="u", feature="chat", messages=MESSAGES)
    connection = own._connections._idle[0]
    wait_for(in_child(own.close), in_child(lambda: None, finalizers=True))
    own.enqueue(tenant_id=TENANTS[0], user_id="u", feature="chat", messages=MESSAGES)
    assert own._connections._idle == [connection], "the parent's connection lives on"
    own.close()


def fork_between_loops() -> None:
    """The parent's event loop has kept connections when it forks."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(ask_in_tasks(0))
    own = AsyncClient()
    children = [in_child(lambda: asyncio.run(ask_in_tasks(1))) for _ in range(2)]
    loop.run_until_complete(ask_in_tasks(0))
    wait_for(*children)
    loop.run_until_complete(own.close())
    loop.close()
    asyncio.run(ask_in_tasks(0))


def pool_of(method: str) -> None:
    with multiprocessing.get_context(method).Pool(3) as pool:
        pool.map(ask, range(6))
    ask(0)


def greenlets() -> None:
    import gevent

    turns = 0

    def others() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0)
            turns += 1

    bystander = gevent.spawn(others)
    gevent.joinall([gevent.spawn(ask, me) for me in range(20)], raise_error=True)
    bystander.kill()
    assert turns > 20, "a call lets the other greenlets run"
    wait_for(in_child(lambda: ask(1)))
    ask(0)


if __name__ == "__main__":
    signal.alarm(60)
    ask(0)
    {
        "fork": lambda: (fork(), fork_between_loops()),
        "multiprocessing_fork": lambda: pool_of("fork"),
        "multiprocessing_spawn": lambda: pool_of("spawn"),
        "gevent": greenlets,
    }[sys.argv[1]]()
