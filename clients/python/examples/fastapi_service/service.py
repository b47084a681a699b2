"""An order and the job that answers its question, with asyncio: `uvicorn service:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from headrace_client import AsyncClient
from headrace_client.errors import InvalidInputError
from psycopg import AsyncConnection
from pydantic import BaseModel

import settings
from errors import NoSuchOrderError
from storage import orders

headrace = AsyncClient(settings.DATABASE_URL)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await headrace.close()


app = FastAPI(lifespan=lifespan)


class Order(BaseModel):
    number: int
    customer: str
    question: str


@app.post("/orders", status_code=201)
async def place_order(order: Order) -> dict[str, Any]:
    try:
        async with await AsyncConnection.connect(settings.DATABASE_URL) as connection:  # one transaction
            job_id = await headrace.enqueue(
                conn=connection,
                tenant_id=settings.TENANT_ID,
                user_id=order.customer,
                feature="chat",
                messages=[{"role": "user", "content": order.question}],
                idempotency_key=f"order-{order.number}",
            )
            await orders.add(connection, order.number, job_id)
    except InvalidInputError as error:
        raise HTTPException(422, error.as_dict()) from error
    return {"job_id": job_id}


@app.get("/orders/{number}/answer")
async def answer(number: int, wait_s: float = 0.0) -> dict[str, Any]:
    try:
        async with await AsyncConnection.connect(settings.DATABASE_URL) as connection:
            job_id = await orders.job_of(connection, number)
    except NoSuchOrderError:
        raise HTTPException(404) from None
    # outside any transaction: the wait holds no connection
    found = await headrace.result(job_id, tenant_id=settings.TENANT_ID, timeout=min(wait_s, 20.0))
    return {"state": found.state, "output": found.output, "cost_usd": str(found.cost_usd)}
