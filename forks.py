"""What a forked child must replace: connections, locks and threads belong to its parent.

A child inherits every open socket. If both processes used one, each would read answers that were meant for the other.
It inherits locks in their present state, also those that another thread of the parent held just then, and no thread but
its own. So each object of ours that keeps such things registers here, and drops them in the child before any other code
runs.

Dropping is not closing: an orderly close of an inherited socket ends the parent's connection. A dropped object is kept
for ever and never touched, so that no finalizer of it runs here either.
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
        """Drop what belongs to the parent, and replace it at the next use. Runs in a child that has only one thread
        yet.
        """


_renewed: WeakSet[Any] = WeakSet()


def renew_in_child(one: Renewed) -> None:
    """Have ``one`` renewed in every child, as long as it lives."""
    _renewed.add(one)


def abandon(thing: object) -> None:
    """Never touch ``thing`` again in this process: its finalizers must not run, not even at the end."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def unplug(descriptor: int) -> None:
    """Drop an inherited socket without a message to the other end. Its number is kept, and leads nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)


def _in_child() -> None:
    # structlog prints under a lock of each file, which another thread may have held.
    getattr(getattr(structlog, "_output", None), "WRITE_LOCKS", {}).clear()
    for one in list(_renewed):
        one.renew_in_child()


os.register_at_fork(after_in_child=_in_child)
