"""An order and the job that answers its question: both exist, or neither."""

from django.conf import settings
from django.db import connection, transaction
from headrace_client import Result, enqueue, result
from headrace_client.errors import InvalidInputError

from errors import OrderRefusedError
from storage.models import Order


def place_order(customer: str, question: str) -> Order:
    try:
        with transaction.atomic():
            order = Order.objects.create(customer=customer, question=question)
            order.job_id = enqueue(
                conn=connection.connection,  # inside atomic(): Django's own psycopg connection, in its transaction
                tenant_id=settings.TENANT_ID,
                user_id=customer,
                feature="chat",
                messages=[{"role": "user", "content": question}],
                idempotency_key=f"order-{order.pk}",
            )
            order.save()
            return order
    except InvalidInputError as error:  # the order is rolled back with it
        raise OrderRefusedError(str(error)) from error


def answer_to(order: Order) -> Result:
    connection.ensure_connection()
    return result(order.job_id, tenant_id=settings.TENANT_ID, conn=connection.connection)
