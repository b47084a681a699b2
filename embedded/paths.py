"""Where the private services of one directory keep their files.

    D/run/      locks, the supervisor's state, requests to it; D/logs/ the servers' output. Ours alone.
    D/servers/  the servers' own home: the database cluster and the sockets. Theirs alone (0700).

Two things can push the second elsewhere. As root the servers run as a system user, who cannot get to a directory
beneath a closed one (such as /root): then their home is beneath ``/var/lib/headrace``, under an id that D remembers.
And a socket's path has to be short: in a deep directory the sockets lie in the system's temporary directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from embedded.account import Account
from errors import ConfigurationError

ELSEWHERE = Path("/var/lib/headrace")
"""Root's place for files that the servers' user has to reach and cannot reach where they are."""

_LONGEST_SOCKET_PATH = 100  # bytes; macOS has room for 103, Linux for 107
_SOCKET_NAMES = (".s.PGSQL.5432", "valkey.sock")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+=@~-]+", re.ASCII)  # libpq splits hosts at commas; no quoting anywhere


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of one directory's private services."""

    directory: Path
    home: Path
    sockets: Path

    @property
    def run(self) -> Path:
        return self.directory / "run"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def cluster(self) -> Path:
        """The database cluster (PGDATA)."""
        return self.home / "postgres"

    @property
    def valkey_socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def port_file(self) -> Path:
        """Where the simulator writes its port, and remembers it for the next start."""
        return self.run / "simulator.port"


def paths_of(directory: Path) -> Path:
    """The directory by its usual name: absolute, links followed."""
    return directory.expanduser().resolve()


def known_paths(directory: Path) -> Paths:
    """The place that an earlier start chose, or the default one."""
    facts = _recorded(directory)
    if facts is None or facts["directory"] != str(directory):
        home = directory / "servers"
        return Paths(directory, home, home / "s")
    return Paths(directory, Path(facts["home"]), Path(facts["sockets"]))


def described(directory: Path) -> str:
    """The directory by its whole path, and whether it is new: data of another directory is not in it."""
    whole = paths_of(directory)
    return str(whole) if known_paths(whole).home.exists() else f"{whole} (new: it holds no data yet)"


def claim(directory: Path) -> None:
    """Make the directory, or check that it is ours to use.

    :raises ConfigurationError: it cannot be made, is not a directory, or belongs to another user.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        check_ownership(directory)
        # Only an empty directory is changed; a system user may have to get through it.
        if not any(directory.iterdir()):
            directory.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for name in ("run", "logs"):
            (directory / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _refused(directory, error.strerror or str(error)) from error


def check_ownership(directory: Path) -> None:
    """Check that the directory is our own, if it exists.

    :raises ConfigurationError: it belongs to another user, even if we may write there.
    """
    try:
        owner = directory.stat().st_uid
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refused(directory, error.strerror or str(error)) from error
    if owner != os.geteuid():
        raise _refused(directory, "it belongs to another user")


def settle(directory: Path, account: Account) -> Paths:
    """Choose the directories of the servers' files and make them. Call it with neither Postgres nor Valkey up.

    :raises ConfigurationError: there is no place that the servers' user can reach, or another user holds it.
    """
    place = Paths(directory, _home(directory, account), Path())
    _own(place.home, account)
    place = Paths(directory, place.home, _sockets(place, account))
    _own(place.sockets, account)
    _record(place)
    if place.home.parent == ELSEWHERE:
        _write(_note(place.home), {"directory": str(directory), "device": directory.parent.stat().st_dev})
    return place


def abandoned() -> list[Path]:
    """Homes beneath :data:`ELSEWHERE` whose directory is gone, or has been given another home since.

    A directory on a disk that is merely not mounted is not gone: its nearest parent lies on another device then.
    """
    found = []
    for note in ELSEWHERE.glob("*.origin"):
        try:
            origin = json.loads(note.read_text())
            directory, device = Path(origin["directory"]), origin["device"]
        except (OSError, ValueError, KeyError):
            continue
        home = note.with_suffix("")
        facts = _recorded(directory)
        if facts is not None:
            gone = facts["home"] != str(home)
        else:
            gone = not directory.exists() and _nearest(directory).stat().st_dev == device
        if gone:
            found.append(home)
    return found


def forget(home: Path) -> None:
    """Remove the note of an abandoned home that has been removed itself."""
    _note(home).unlink(missing_ok=True)


def _home(directory: Path, account: Account) -> Path:
    if remembered := _remembered_elsewhere(directory):
        return remembered
    inside = directory / "servers"
    if account.is_ours or account.can_traverse(directory):
        return inside
    if inside.exists():
        raise _refused(directory, f"it holds data, but the servers' user (uid {account.uid}) can no longer reach it")
    try:
        ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
        ELSEWHERE.chmod(0o755)
    except OSError as error:
        raise ConfigurationError(
            f"the servers' user cannot reach this directory, and {ELSEWHERE} cannot be made: {error.strerror}",
            field="HEADRACE_DIR",
            value=str(directory),
            hint="Choose a directory whose parents are open to all users (mode 755).",
        ) from error
    return ELSEWHERE / secrets.token_hex(6)


def _remembered_elsewhere(directory: Path) -> Path | None:
    facts = _recorded(directory)
    if facts is None:
        return None
    home, former = Path(facts["home"]), Path(facts["directory"])
    if home.parent != ELSEWHERE or not home.exists():
        return None
    # A moved directory takes its home along; a copy of one that is still there does not.
    copied = former != directory and (_recorded(former) or {}).get("home") == str(home)
    return None if copied else home


def _sockets(place: Paths, account: Account) -> Path:
    inside = place.home / "s"
    if _fits(inside):
        return inside
    digest = hashlib.sha256(os.fsencode(place.directory)).hexdigest()[:12]
    for temporary in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - checked by _own
        candidate = Path(temporary).resolve() / f"headrace-{account.uid}-{digest}"
        if _fits(candidate) and candidate.parent.is_dir() and account.can_traverse(candidate.parent):
            return candidate
    raise ConfigurationError(
        "the path is too long for a socket or has unusual characters, and no temporary directory can be used",
        field="HEADRACE_DIR",
        value=str(place.directory),
        hint="Choose a shorter path of plain characters.",
    )


def _fits(sockets: Path) -> bool:
    longest = max(len(os.fsencode(sockets / name)) for name in _SOCKET_NAMES)
    return longest <= _LONGEST_SOCKET_PATH and _PLAIN_PATH.fullmatch(str(sockets)) is not None


def _own(directory: Path, account: Account) -> None:
    """Make a directory that only the account (and root) can enter; refuse one that another user made."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        facts = directory.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid not in (account.uid, os.geteuid()):
            raise _refused(directory, "another user made it")
        if facts.st_uid != account.uid:
            os.chown(directory, account.uid, account.gid, follow_symlinks=False)
        directory.chmod(0o700)
    except OSError as error:
        raise _refused(directory, error.strerror or str(error)) from error


def _record(place: Paths) -> None:
    facts = {"directory": str(place.directory), "home": str(place.home), "sockets": str(place.sockets)}
    _write(place.run / "place.json", facts)


def _recorded(directory: Path) -> dict[str, str] | None:
    try:
        facts = json.loads((directory / "run" / "place.json").read_text())
        return {name: str(facts[name]) for name in ("directory", "home", "sockets")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, facts: object) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(facts))
    draft.replace(path)


def _note(home: Path) -> Path:
    return home.with_name(f"{home.name}.origin")


def _nearest(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.exists())


def _refused(directory: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the private services cannot use this directory: {reason}",
        field="HEADRACE_DIR",
        value=str(directory),
        hint="Choose another directory (HEADRACE_DIR, or --dir).",
    )
