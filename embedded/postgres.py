"""The private Postgres: its cluster, its settings, its URLs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import psutil

from embedded import binaries
from embedded.account import Account
from embedded.paths import Paths
from embedded.server import Server
from errors import PostgresUnavailableError

DATABASE = "headrace"
OWNER = "postgres"
_PORT = 5432  # names the socket file; nothing listens on TCP
_READY_WITHIN_S = 300.0  # recovery after a crash reads the log of up to max_wal_size
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    # Durability stays on: measurements here have to hold elsewhere.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
    "logging_collector": "off",
}


def url(place: Paths, role: str) -> str:
    """The URL by which a role connects to the private database. No password: only we can reach the socket."""
    return f"postgresql://{role}@/{DATABASE}?host={quote(str(place.sockets))}&port={_PORT}"


def socket(place: Paths) -> Path:
    """The socket that it listens on."""
    return place.sockets / f".s.PGSQL.{_PORT}"


def prepare(place: Paths, account: Account, request: str) -> Server:
    """Make the cluster if it is missing, and describe how to run it. Call it with no Postgres running on it.

    :raises ConfigurationError: the programs cannot run.
    :raises PostgresUnavailableError: the cluster could not be made.
    """
    programs = binaries.postgres(account)
    if place.cluster.exists():
        _forget_stranger(place)
    else:
        _make_cluster(place, programs, account)
    settings = {**_SETTINGS, "unix_socket_directories": str(place.sockets), "port": str(_PORT)}
    return Server(
        name="postgres",
        request=request,
        argv=(
            str(programs / "postgres"),
            "-D",
            str(place.cluster),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ),
        cwd=str(place.home),
        env=_ENVIRONMENT,
        log=str(place.logs / "postgres.log"),
        ready="postmaster",
        ready_file=str(place.cluster / "postmaster.pid"),
        ready_within_s=_READY_WITHIN_S,
        uid=account.uid,
        gid=account.gid,
        stop_signals=(signal.SIGINT, signal.SIGQUIT),  # fast, then immediate: neither waits for clients
        death_signal=signal.SIGQUIT,  # the sooner it has ended, the sooner it can be started again; nothing is lost
        # After the death of a postmaster its backends need a moment to notice.
        retry_on=("pre-existing shared memory block", 'lock file "postmaster.pid" already exists'),
        scratch=None if place.sockets.parent == place.home else str(place.sockets),
    )


def _make_cluster(place: Paths, programs: Path, account: Account) -> None:
    """Build the cluster aside and move it into place whole, so that an interrupted start leaves no broken one."""
    for remains in place.home.glob("new-*"):
        shutil.rmtree(remains, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix="new-", dir=place.home))
    if not account.is_ours:
        shutil.chown(draft, account.uid, account.gid)
    initdb = [
        str(programs / "initdb"),
        f"--pgdata={draft}",
        f"--username={OWNER}",
        "--auth-local=trust",  # safe because the sockets' directory is closed to all other users
        "--auth-host=reject",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]
    _run(initdb, draft, place, account)
    single = [str(programs / "postgres"), "--single", "-D", str(draft), "-c", "log_checkpoints=off", "template1"]
    _run(single, draft, place, account, said=f"CREATE DATABASE {DATABASE}\n")
    draft.rename(place.cluster)


def _run(command: list[str], draft: Path, place: Paths, account: Account, *, said: str = "") -> None:
    outcome = subprocess.run(  # noqa: S603
        command,
        cwd=place.home,
        env=_ENVIRONMENT,
        input=said,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        **account.of_process(),
    )
    # Single-user mode reports a failed statement and still ends well.
    if outcome.returncode != 0 or "ERROR:" in outcome.stdout or "FATAL:" in outcome.stdout:
        shutil.rmtree(draft, ignore_errors=True)
        raise PostgresUnavailableError(
            f"the private database could not be made:\n{outcome.stdout.strip()[-1500:]}",
            hint="Is there room on the disk? HEADRACE_DIR can name another directory.",
        )


def _forget_stranger(place: Paths) -> None:
    """Remove a postmaster.pid whose number belongs to a process that is not a postmaster of ours.

    Leftover postmasters have been ended before, so the process that now has that number is another program (or a zombie
    that was not reaped), and Postgres would mistake it for a rival. A number without a process is left to Postgres,
    whose own check also finds orphaned backends.
    """
    file = place.cluster / "postmaster.pid"
    try:
        number = int(file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if psutil.pid_exists(number):
        file.unlink()
