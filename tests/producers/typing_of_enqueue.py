"""What a type checker makes of ``enqueue``: read by ``test_typing.py``, never run."""

from __future__ import annotations

from typing import assert_type
from uuid import UUID

from producers import Client, JobId, Quote, aenqueue, enqueue


def of_the_client(client: Client, tenant: UUID, perhaps: bool) -> None:
    assert_type(client.enqueue(tenant_id=tenant, user_id="u", feature="chat"), JobId)
    assert_type(client.enqueue(tenant_id=tenant, user_id="u", feature="chat", conn=object()), JobId)
    assert_type(client.enqueue(tenant_id=tenant, user_id="u", feature="chat", dry_run=True), Quote)
    assert_type(client.enqueue(tenant_id=tenant, user_id="u", feature="chat", dry_run=perhaps), JobId | Quote)


def of_the_module(tenant: UUID, perhaps: bool) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    assert_type(enqueue(tenant_id=tenant, user_id="u", feature="chat", messages=messages), JobId)
    assert_type(enqueue(tenant_id=str(tenant), user_id="u", feature="chat", messages=messages, dry_run=True), Quote)
    assert_type(enqueue(tenant_id=tenant, user_id="u", feature="chat", dry_run=perhaps), JobId | Quote)


async def of_asyncio(client: Client, tenant: UUID) -> None:
    assert_type(await client.aenqueue(tenant_id=tenant, user_id="u", feature="chat"), JobId)
    assert_type(await client.aenqueue(tenant_id=tenant, user_id="u", feature="chat", dry_run=True), Quote)
    assert_type(await aenqueue(tenant_id=tenant, user_id="u", feature="chat"), JobId)
    assert_type(await aenqueue(tenant_id=tenant, user_id="u", feature="chat", dry_run=True), Quote)


def of_mistakes(tenant: UUID) -> None:
    """Each is found: an ignore that were not needed would be an error itself."""
    enqueue(tenant_id=tenant, user_id="u")  # type: ignore[call-overload]
    enqueue(tenant_id=tenant, user_id="u", feature="chat", colour="red")  # type: ignore[call-overload]
    enqueue(tenant_id=tenant, user_id="u", feature="chat", lane=3)  # type: ignore[call-overload]
    enqueue(tenant_id=tenant, user_id="u", feature="chat", dry_run=True, conn=object())  # type: ignore[call-overload]
