"""What a forked child must make anew: connections, locks and threads are its parent's.

A child inherits every open socket. If both processes used one, each would read answers that were meant for the other.
It inherits locks as they were, also those that another thread of the parent held just then, and no thread but its own.
So each object of ours that keeps such things says so here, and lets go of them in the child before anything else runs.

Letting go is not closing: a goodbye on an inherited socket ends the parent's connection. What is abandoned is kept for
ever and untouched, so that no finalizer of it runs here either.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Protocol
from weakref import WeakSet

import structlog


class Renewed(Protocol):
    """Something that a child cannot use as it was inherited."""

    def renew_in_child(self) -> None:
        """Let go of what is the parent's; make it anew at the next use. Runs in a child that has one thread yet."""


_renewed: WeakSet[Any] = WeakSet()


def renew_in_child(one: Renewed) -> None:
    """Have ``one`` renewed in every child, as long as it lives."""
    _renewed.add(one)


def abandon(thing: object) -> None:
    """Never touch ``thing`` again in this process: its finalizers must not run, not even at the end."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def unplug(descriptor: int) -> None:
    """Let go of an inherited socket without a word to the other end. Its number is kept, and leads nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)


def _in_child() -> None:
    # structlog prints under a lock of each file, which another thread may have held.
    getattr(getattr(structlog, "_output", None), "WRITE_LOCKS", {}).clear()
    for one in list(_renewed):
        one.renew_in_child()


os.register_at_fork(after_in_child=_in_child)
