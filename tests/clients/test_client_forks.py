"""A service with the light client that forks gets its own answers in every process."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from storage.db.database import Database
from tests.conftest import new_tenant
from tests.support.client_install import Place
from tests.support.fleet import Urls


def test_a_program_that_ends_leaves_nothing_open(place: Place, folder: Path, urls: Urls, tenant: UUID) -> None:
    program = (
        "import asyncio, os, sys; from headrace_client import enqueue, aenqueue;"
        f"job = dict(tenant_id='{tenant}', user_id='u', feature='chat', messages=[dict(role='user', content='Hi')]);"
        "enqueue(**job); asyncio.run(aenqueue(**job)); loop = asyncio.new_event_loop();"
        "loop.run_until_complete(aenqueue(**job)); loop.close(); print('ends')"
    )
    done = subprocess.run(
        place.command("-W", "error::ResourceWarning", "-c", program),
        cwd=folder, env=place.environment(HEADRACE_DATABASE_URL=urls.producer), capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("ends\n", "")


@pytest.mark.parametrize("way", ["fork", "multiprocessing_fork", "multiprocessing_spawn", "gevent"])
def test_every_process_gets_its_own_answers(
    way: str, place: Place, folder: Path, urls: Urls, ops: Database, tenant: UUID
) -> None:
    tenants = [tenant, new_tenant(ops, "Other")]
    program = Path(__file__).with_name("forking.py")
    named = json.dumps([str(one) for one in tenants])
    place.run(str(program), way, cwd=folder, HEADRACE_DATABASE_URL=urls.producer, TENANTS=named)
