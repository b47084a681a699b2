"""What a type checker makes of the light client: read by ``tests/producers/test_typing.py``, never run."""

from __future__ import annotations

from typing import Any, assert_type
from uuid import UUID

import psycopg
from headrace_client import AsyncClient, Batch, Client, JobId, Result, aenqueue, aresult, enqueue, enqueue_many, result


def of_threads(client: Client, tenant: UUID, conn: psycopg.Connection[Any]) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    assert_type(enqueue(tenant_id=tenant, user_id="u", feature="chat", messages=messages), JobId)
    assert_type(client.enqueue(tenant_id=str(tenant), user_id="u", feature="chat", conn=conn), JobId)
    assert_type(enqueue_many([{"tenant_id": tenant, "user_id": "u", "feature": "chat"}], conn=conn), Batch)
    assert_type(result(tenant, tenant_id=tenant, timeout=5), Result)
    assert_type(client.result(str(tenant), tenant_id=tenant).state.ended, bool)


async def of_asyncio(client: AsyncClient, tenant: UUID, conn: psycopg.AsyncConnection[Any]) -> None:
    assert_type(await aenqueue(tenant_id=tenant, user_id="u", feature="chat", conn=conn), JobId)
    assert_type(await client.enqueue(tenant_id=tenant, user_id="u", feature="chat"), JobId)
    assert_type(await aresult(tenant, tenant_id=tenant), Result)


async def of_mistakes(client: Client, tenant: UUID, conn: psycopg.Connection[Any]) -> None:
    """Each is found: an ignore that were not needed would be an error itself."""
    enqueue(tenant_id=tenant, user_id="u")  # type: ignore[call-arg]
    enqueue(tenant_id=tenant, user_id="u", feature="chat", colour="red")  # type: ignore[call-arg]
    enqueue(tenant_id=tenant, user_id="u", feature="chat", lane=3)  # type: ignore[arg-type]
    enqueue(tenant_id=tenant, user_id="u", feature="chat", on_unknown="maybe")  # type: ignore[arg-type]
    enqueue_many([{"tenant_id": tenant, "user_id": "u"}])  # type: ignore[typeddict-item]
    await aenqueue(tenant_id=tenant, user_id="u", feature="chat", conn=conn)  # type: ignore[arg-type]
    client.result(tenant)  # type: ignore[call-arg]
