"""Which services a command starts: none that is set, none that it does not need, and it says which."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.commands.conftest import Headrace

NOTHING_SET = dict.fromkeys(
    (
        "HEADRACE_DATABASE_URL", "HEADRACE_OPS_DATABASE_URL", "HEADRACE_OWNER_DATABASE_URL", "HEADRACE_REDIS_URL",
        "HEADRACE_BROKER_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HEADRACE_OPENAI_BASE_URL",
        "HEADRACE_ANTHROPIC_BASE_URL",
    ),
)  # fmt: skip


@pytest.fixture
def home(headrace: Headrace) -> Iterator[Path]:
    """A directory for private services that a system user can get to."""
    directory = Path(tempfile.mkdtemp(prefix="headrace-cli-"))
    yield directory
    headrace("services", "stop", "--dir", directory)
    shutil.rmtree(directory, ignore_errors=True)


def test_what_a_command_does_not_need_is_not_started(headrace: Headrace, environment: dict[str, str]) -> None:
    only_postgres = {name: environment.get(name) if "DATABASE" in name else None for name in NOTHING_SET}

    done = headrace("tenants", "list", env=only_postgres)

    assert (done.code, done.err) == (0, "")
    assert not Path(environment["HEADRACE_DIR"]).exists()


def test_with_nothing_set_a_command_brings_its_own_and_says_so_once(headrace: Headrace, home: Path) -> None:
    alone = {**NOTHING_SET, "HEADRACE_DIR": str(home)}

    first = headrace("tenants", "add", "Acme", env=alone)
    stays = headrace("services", "start", "--json", env=alone)
    second = headrace("tenants", "list", "--json", env=alone)
    checked = headrace("doctor", "--json", env=alone)

    assert (first.code, first.err) == (
        0,
        f"starting private Postgres in {home} (new: it holds no data yet) …\n",
    )
    assert stays.code == 0
    assert second.err == ""
    assert [one["id"] for one in second.json["tenants"]] == [first.out.strip()]
    parts = {one["part"]: one for one in checked.json["findings"]}
    assert checked.code == 0
    assert "(private)" in parts["database (app)"]["says"]
    assert "(private)" in parts["wire"]["says"]
    assert "the private simulator invents the answers, and each answer is marked" in parts["providers"]["says"]
