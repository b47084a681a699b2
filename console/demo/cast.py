"""The tenants of the demo: three, on three plans, and the requests of each. One of them floods the platform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from console.demo.dataset import load_clauses, load_questions, load_tickets


@dataclass(frozen=True, slots=True)
class Customer:
    """A tenant of the demo. ``requests`` are the fields of ``enqueue`` without the tenant."""

    name: str
    plan: str
    daily_cap_usd: Decimal | None  # None: the plan's
    floods: bool  # enqueued all at once, instead of a few at a time
    requests: Sequence[Mapping[str, Any]]


def cast(*, flooding_cap_usd: Decimal, real_limit: int | None, real_cap_usd: Decimal | None) -> list[Customer]:
    """The three customers. With a real provider: at most ``real_limit`` requests each, under ``real_cap_usd`` each."""
    tickets = [_ask(one, "support_reply") for one in load_tickets()]
    clauses = [_ask(one, "legal_summary") for one in load_clauses()]
    questions = [_ask(one, "sql_generation") for one in load_questions()]
    return [
        Customer("Brightdesk", "free", real_cap_usd or flooding_cap_usd, True, tickets[:real_limit]),
        Customer("Hartwell & Moss", "enterprise", real_cap_usd, False, clauses[:real_limit]),
        Customer("Plotline", "pro", real_cap_usd, False, questions[:real_limit]),
    ]


def _ask(item: Any, feature: str) -> dict[str, Any]:
    return {"user_id": item.user, "feature": feature, "prompt": feature, "variables": item.variables}
