"""The errors for jobs that the money guard refuses: the same in a dry run as at the job's end."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from errors import OverBudgetError, UnpricedModelError

_NEVER_FITS_HINT = "Raise the cap, or ask for less."
_UNPRICED_HINT = "Run `headrace migrate` to sync prices, or name another model in the routing policy."


def over_budget(
    *,
    scope: str,
    key: str,
    need_usd: Decimal | None,
    limit_usd: Decimal | None,
    spent_usd: Decimal | None,
    reserved_usd: Decimal | None,
    room_at: datetime | None,
) -> dict[str, Any]:
    """The error of a job whose worst case does not fit under a cap, with the state of the cap in USD.

    ``need_usd``: the least that the job has to reserve; ``reserved_usd``: by other jobs; ``room_at``: when the window
    will have freed enough, None when it never will.
    """
    whose = "the tenant" if scope == "tenant" else f"{scope} {key}"
    error = OverBudgetError(
        f"the worst case of {need_usd} USD does not fit under the daily cap of {whose}: "
        f"{spent_usd} of {limit_usd} USD are spent",
        field=f"cap.{scope}",
        hint=_NEVER_FITS_HINT if room_at is None else f"Room returns at {room_at.isoformat()}.",
        limit_usd=str(limit_usd),
        spent_usd=str(spent_usd),
        reserved_usd=str(reserved_usd),
        worst_case_usd=str(need_usd),
        room_at=None if room_at is None else room_at.isoformat(),
    )
    return error.as_dict() | {"value": key or "tenant"}  # a name, without the quotes of a refused value


def unpriced(model: str | None) -> dict[str, Any]:
    """The error of a job whose model has no price."""
    message = f"no price is known for {model}, and nothing runs unpriced"
    return UnpricedModelError(message, field="model", hint=_UNPRICED_HINT).as_dict() | {"value": model}
