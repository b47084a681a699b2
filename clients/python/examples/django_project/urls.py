import json

from django.http import HttpRequest, JsonResponse
from django.urls import path

from errors import OrderRefusedError
from orders import answer_to, place_order
from storage.models import Order


def orders(request: HttpRequest) -> JsonResponse:
    asked = json.loads(request.body)
    try:
        order = place_order(asked["customer"], asked["question"])
    except OrderRefusedError as error:
        return JsonResponse({"error": str(error)}, status=422)
    return JsonResponse({"order": order.pk, "job_id": str(order.job_id)}, status=201)


def answer(_request: HttpRequest, number: int) -> JsonResponse:
    found = answer_to(Order.objects.get(pk=number))
    return JsonResponse({"state": found.state, "output": found.output, "cost_usd": str(found.cost_usd)})


urlpatterns = [path("orders", orders), path("orders/<int:number>/answer", answer)]
