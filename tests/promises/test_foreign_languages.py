"""The same promise without any Python: plain SQL through psql, and the Node example with ``pg``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from embedded import account, binaries
from producers import Client
from storage.db.database import Database
from storage.jobs.jobs import State
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls
from tests.support.foreign_service import open_shop, orders_and_keys
from tests.support.required import absent

NODE_EXAMPLE = Path(__file__).parents[2] / "examples" / "node"


@pytest.fixture
def shop(urls: Urls) -> None:
    open_shop(urls)


# ------------------------------------------------------------------------------------------------------------ plain SQL

ORDER_AND_JOB = """
begin isolation level {level};
insert into shop.orders (number) values ({number});
select headrace.enqueue(tenant_id => :'tenant', user_id => 'ada', feature => 'support_reply',
    prompt => 'support_reply', idempotency_key => 'order-{number}', variables => jsonb_build_object(
        'ticket', 'Where is my parcel?', 'customer', 'Ada', 'product', 'Desk'));
{ending};
"""


def _psql(urls: Urls, script: str, **variables: object) -> subprocess.CompletedProcess[str]:
    program = binaries.postgres(account.for_servers()) / "psql"
    command = [program, urls.producer, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1"]
    settings = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
    return subprocess.run([*command, *settings], input=script, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.usefixtures("shop", "scheduler")
def test_from_plain_sql(client: Client, fleet: Fleet, ops: Database, urls: Urls, tenant: UUID) -> None:
    fleet.simulator()
    fleet.worker()
    script = "".join(
        ORDER_AND_JOB.format(level=level, number=number, ending=ending)
        for number, (level, ending) in enumerate(
            (level, ending) for level in ("read committed", "serializable") for ending in ("rollback", "commit")
        )
    )
    done = _psql(urls, script, tenant=tenant)
    assert done.returncode == 0, done.stderr
    ids = [UUID(line) for line in done.stdout.split()]
    assert len(ids) == 4
    for job_id in (ids[1], ids[3]):
        assert client.result(job_id, tenant_id=tenant, timeout=30).state is State.SUCCEEDED
    assert orders_and_keys(urls, ops) == ([1, 3], ["order-1", "order-3"])
    check_books(ops, fleet.journal())


@pytest.mark.usefixtures("shop")
def test_from_plain_sql_a_refusal_takes_the_order_with_it(ops: Database, urls: Urls, tenant: UUID) -> None:
    script = ORDER_AND_JOB.format(level="read committed", number=1, ending="commit").replace("'product'", "'colour'")
    done = _psql(urls, "\\set VERBOSITY verbose\n" + script, tenant=tenant)
    assert done.returncode == 3, done.stdout
    assert "HR400: headrace.enqueue: variables.product: prompt support_reply needs the variable product" in done.stderr
    assert orders_and_keys(urls, ops) == ([], [])


# ----------------------------------------------------------------------------------------------------------------- Node

ORDERS_AND_JOBS = """
import pg from 'pg'
import { enqueue, inTransaction } from './enqueue.mjs'

const [tenantId] = process.argv.slice(2)
const client = new pg.Client({ connectionString: process.env.APP_DATABASE_URL })
await client.connect()
let number = 0
for (const isolation of ['read committed', 'serializable']) {
  for (const commits of [false, true]) {
    number++
    const jobs = inTransaction(client, async () => {
      await client.query('insert into shop.orders (number) values ($1)', [number])
      const job = { tenantId, userId: 'ada', feature: 'chat', messages: [{ role: 'user', content: 'Say thank you.' }] }
      const id = await enqueue(client, { ...job, idempotencyKey: `order-${number}` })
      if (!commits) throw new Error('changed its mind')
      return id
    }, { isolation })
    console.log(await jobs.catch((error) => error.message.replaceAll(' ', '-')))
  }
}
await client.end()
"""


@pytest.fixture(scope="session")
def node_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, with its one dependency installed from its lock."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        absent("node and npm")
    folder = tmp_path_factory.mktemp("node") / "example"
    shutil.copytree(NODE_EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if installed.returncode != 0:
        absent(f"the example's dependency, for npm failed: {installed.stderr[-800:]}")
    (folder / "orders_and_jobs.mjs").write_text(ORDERS_AND_JOBS)
    return folder


def _node(folder: Path, urls: Urls, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "APP_DATABASE_URL": urls.producer}
    return subprocess.run(
        ["node", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.usefixtures("shop", "scheduler")
def test_from_node(
    client: Client, fleet: Fleet, ops: Database, urls: Urls, tenant: UUID, node_example: Path
) -> None:  # fmt: skip
    fleet.simulator()
    fleet.worker()
    done = _node(node_example, urls, "orders_and_jobs.mjs", str(tenant))
    assert done.returncode == 0, done.stderr
    first, second, third, fourth = done.stdout.split()
    assert (first, third) == ("changed-its-mind", "changed-its-mind")
    for job_id in (UUID(second), UUID(fourth)):
        assert client.result(job_id, tenant_id=tenant, timeout=30).state is State.SUCCEEDED
    assert orders_and_keys(urls, ops) == ([2, 4], ["order-2", "order-4"])
    check_books(ops, fleet.journal())


def test_the_node_example_by_itself(urls: Urls, ops: Database, tenant: UUID, node_example: Path) -> None:
    done = _node(node_example, urls, "enqueue.mjs", str(tenant), "Where is my parcel?")
    assert done.returncode == 0, done.stderr
    with ops.connection() as connection:
        assert connection.execute("select id from headrace.queue").fetchall() == [{"id": UUID(done.stdout.strip())}]

    refused = _node(node_example, urls, "enqueue.mjs", str(tenant), "")
    assert refused.returncode == 1
    assert "refused: invalid_input at messages[0].content" in refused.stderr
