"""Is the model's answer what was asked for? Text as it is; JSON read and checked against the schema."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, NoReturn

from errors import OutputInvalidError
from guards.check_budget import CheckBudget
from guards.cleaning import DEEPEST
from guards.schemas import mismatch
from router.providers.calls import CallReply
from router.providers.text import storable

# A fence is a line that begins with three backticks. A JSON string cannot hold one, for it has no raw line break.
_FENCE: Final = re.compile(r"^[ \t]*```[^\n`]*$", re.MULTILINE)


def read_answer(reply: CallReply, schema: Mapping[str, Any] | None) -> tuple[str, Any]:
    """The answer's text (without characters that Postgres cannot keep) and, when a schema was asked for, its value.

    A text that holds one fenced block and is not JSON itself counts as what is inside the fence.

    Raises :class:`errors.OutputInvalidError` when the text is not JSON or does not match the schema (checked before),
    and :class:`errors.SchemaTooCostlyError` when that takes more CPU time than it may.
    """
    text = storable(reply.text)
    if schema is None or reply.finish == "refusal":
        return text, None
    with CheckBudget() as budget:
        try:
            text, value = _value_of(text, budget)
        except (ValueError, RecursionError) as error:
            cut = " (cut at max_output_tokens)" if reply.finish == "length" else ""
            raise OutputInvalidError(f"the answer is no JSON{cut}: {error}", finish=reply.finish) from error
        why = mismatch(value, schema, budget)
    if why is not None:
        raise OutputInvalidError(f"the answer does not match the output schema {why}", finish=reply.finish)
    return text, value


def _value_of(text: str, budget: CheckBudget) -> tuple[str, Any]:
    try:
        return text, _read(text, budget)
    except ValueError:
        fences = [*islice(_FENCE.finditer(text), 3)]
        if len(fences) != 2:
            raise
        inside = text[fences[0].end() : fences[1].start()].strip()
        return inside, _read(inside, budget)


def _read(text: str, budget: CheckBudget) -> Any:
    return _storable(json.loads(text, parse_constant=_no_number, parse_float=_finite), DEEPEST, budget)


def _storable(value: Any, levels: int, budget: CheckBudget) -> Any:
    """The value without what jsonb refuses (an escaped NUL, half of a surrogate pair), in bounded depth and time."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict | list):
        budget.spend(1 + len(value))
        if levels == 0:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")
        if isinstance(value, dict):
            return {storable(key): _storable(one, levels - 1, budget) for key, one in value.items()}
        return [_storable(one, levels - 1, budget) for one in value]
    return value


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is beyond the range of numbers")
    return number


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
