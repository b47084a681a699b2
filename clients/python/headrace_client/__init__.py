"""Headrace from any Python service: ``from headrace_client import enqueue, enqueue_many, result`` (``a…`` for asyncio).

Needs psycopg and a login that is a member of ``headrace_producer``; nothing else of Headrace.
"""

from headrace_client.async_client import AsyncClient
from headrace_client.client import Client
from headrace_client.default import aenqueue, aenqueue_many, aresult, enqueue, enqueue_many, result
from headrace_client.errors import HeadraceError
from headrace_client.fields import Fields
from headrace_client.outcomes import Batch, JobId, Refused, Result, State

__all__ = [
    "AsyncClient",
    "Batch",
    "Client",
    "Fields",
    "HeadraceError",
    "JobId",
    "Refused",
    "Result",
    "State",
    "aenqueue",
    "aenqueue_many",
    "aresult",
    "enqueue",
    "enqueue_many",
    "result",
]
