"""A service with the light client that forks gets its own answers in every process."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from storage.database import Database
from tests.clients.place import Place
from tests.conftest import new_tenant
from tests.fleet import Urls


@pytest.mark.parametrize("way", ["fork", "multiprocessing_fork", "multiprocessing_spawn", "gevent"])
def test_every_process_gets_its_own_answers(
    way: str, place: Place, folder: Path, urls: Urls, ops: Database, tenant: UUID
) -> None:
    tenants = [tenant, new_tenant(ops, "Other")]
    program = Path(__file__).with_name("forking.py")
    named = json.dumps([str(one) for one in tenants])
    place.run(str(program), way, cwd=folder, HEADRACE_DATABASE_URL=urls.producer, TENANTS=named)
