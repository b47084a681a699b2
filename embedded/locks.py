"""File locks that the kernel frees when their holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from errors import ConfigurationError, ServiceError

_POLL_S = 0.02


def open_lock_file(path: Path) -> int:
    """A descriptor of the lock file, made if it is missing, that started programs do not inherit."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock if that is possible at once; returns whether it was.

    :raises ConfigurationError: the file system knows no locks.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        raise ConfigurationError(
            "the file system of this directory does not support file locks",
            field="HEADRACE_DIR",
            hint="Choose a directory on a local disk.",
        ) from error
    return True


def unlock(descriptor: int) -> None:
    """Release the lock and keep the file open."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def lock(path: Path, *, shared: bool = False, within_s: float) -> int:
    """Take the lock, waiting if need be; closing the returned descriptor frees it.

    :raises ServiceError: another process held it for all of ``within_s`` seconds.
    """
    descriptor = open_lock_file(path)
    deadline = time.monotonic() + within_s
    with ExitStack() as unless_taken:
        unless_taken.callback(os.close, descriptor)
        while not try_lock(descriptor, shared=shared):
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"another process has held {path} for {within_s:g} s",
                    hint="It is starting or stopping the private services: wait for it, or end it, and try again.",
                )
            time.sleep(_POLL_S)
        unless_taken.pop_all()
    return descriptor


@contextmanager
def locked(path: Path, *, within_s: float) -> Iterator[None]:
    """Hold the exclusive lock for the length of a block."""
    descriptor = lock(path, within_s=within_s)
    try:
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock exclusively right now."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)
