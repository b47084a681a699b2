"""A service on gevent, as a program: greenlets share the default client, and it forks once. See forking_service.py."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()  # before anything else: what was imported unpatched would block every greenlet

import gevent  # noqa: E402

from tests.support.forking_service import ask, in_child, wait_for  # noqa: E402

GREENLETS = 20


def main() -> None:
    turns = 0

    def others() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0)
            turns += 1

    bystander = gevent.spawn(others)
    gevent.joinall([gevent.spawn(ask, n, 5) for n in range(GREENLETS)], raise_error=True)
    bystander.kill()
    assert turns > GREENLETS, "a call lets the other greenlets run"
    wait_for(in_child(lambda: ask(1, 5)))
    ask(0, 5)


if __name__ == "__main__":
    main()
