"""The account that runs the servers: our own or, because Postgres refuses to run as root, a dedicated system user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errors import ConfigurationError

NAME = "headrace"
"""The system user that runs the servers when root starts them."""

_CREATE_WITHIN_S = 10.0
_ADMIN_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group ids that a server runs with."""

    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        """Whether it is the user of this process."""
        return self.uid == os.geteuid()

    def of_process(self) -> dict[str, Any]:
        """The arguments that make ``subprocess`` run a program as this user, in its own group only."""
        return {} if self.is_ours else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_traverse(self, directory: Path) -> bool:
        """Whether the user may reach the files in ``directory``, by the permission bits of it and all its parents."""
        return all(self._may_search(place) for place in (directory, *directory.parents))

    def _may_search(self, directory: Path) -> bool:
        facts = directory.stat()
        if facts.st_uid == self.uid:
            return bool(facts.st_mode & 0o100)
        if facts.st_gid == self.gid:
            return bool(facts.st_mode & 0o010)
        return bool(facts.st_mode & 0o001)


def for_servers() -> Account:
    """The account that runs the servers; as root, the system user ``headrace``, made if it is missing.

    :raises ConfigurationError: the system user is missing and could not be made.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    return _existing() or _created()


def _existing() -> Account | None:
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        return None
    if entry.pw_uid == 0:
        raise ConfigurationError(f"the system user {NAME!r} is root itself, and Postgres refuses to run as root")
    return Account(entry.pw_uid, entry.pw_gid)


def _created() -> Account:
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', os.defpath)}:{_ADMIN_PATH}")
    if program is None:
        raise _cannot("useradd is not installed")
    command = [program, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME]
    deadline = time.monotonic() + _CREATE_WITHIN_S
    while True:
        outcome = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
        # Another process may have made it, or hold the password file's lock, at this very moment.
        if account := _existing():
            return account
        if time.monotonic() > deadline or "try again" not in outcome.stderr:
            raise _cannot(outcome.stderr.strip() or f"useradd ended with {outcome.returncode}")
        time.sleep(0.1)


def _cannot(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"Postgres refuses to run as root, and the system user {NAME!r} could not be made: {reason}.",
        hint=(
            f"Make it yourself (useradd --system --no-create-home {NAME}), run the command as an ordinary user, "
            "or set HEADRACE_DATABASE_URL."
        ),
    )
