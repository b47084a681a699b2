"""The client as it is installed, once for all tests of it; and jobs that end without a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from storage.db.database import Database
from tests.support.client_install import Place, install
from tests.support.transactions import answered_run, begin_call, claim_job, planned_call, settle_job, succeeded_outcome


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return install(tmp_path_factory.mktemp("client"), beside=["django", "fastapi", "uvicorn", "gevent"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to run programs in."""
    return tmp_path


def answer_next(app: Database, tenant: UUID, **outcome: Any) -> UUID:
    """What a worker does to the tenant's next job: claim, begin, settle with an answer. The job's id."""
    with app.connection() as connection:
        claim_id, planned = uuid4(), planned_call()
        job = claim_job(connection, tenant, claim_id=claim_id, worker_id=uuid4())
        assert job is not None, "there is no job to answer"
        begin_call(connection, tenant, job.job_id, claim_id, planned)
        settle_job(
            connection, tenant, job.job_id, claim_id, answered_run(planned.run_id), "ended",
            **succeeded_outcome(planned.run_id) | outcome,
        )  # fmt: skip
        return job.job_id
