from uuid import UUID

from psycopg import AsyncConnection

from errors import NoSuchOrderError


async def add(connection: AsyncConnection, number: int, job_id: UUID) -> None:
    await connection.execute("insert into shop.orders (number, job_id) values (%s, %s)", [number, job_id])


async def job_of(connection: AsyncConnection, number: int) -> UUID:
    cursor = await connection.execute("select job_id from shop.orders where number = %s", [number])
    row = await cursor.fetchone()
    if row is None:
        raise NoSuchOrderError
    return row[0]
