"""Work comes in here: ``from producers import enqueue, enqueue_many, result`` (and ``a…`` for asyncio)."""

from producers.client import Batch, Client, JobId, Refused, Result
from producers.enqueue import aenqueue, aenqueue_many, aresult, enqueue, enqueue_many, result
from producers.quote import Quote, Verdict

__all__ = [
    "Batch",
    "Client",
    "JobId",
    "Quote",
    "Refused",
    "Result",
    "Verdict",
    "aenqueue",
    "aenqueue_many",
    "aresult",
    "enqueue",
    "enqueue_many",
    "result",
]
