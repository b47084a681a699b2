"""The number nearest to a wanted one that a JSON schema's bounds and ``multipleOf`` accept."""

from __future__ import annotations

import math
from typing import Any


def fit_number(wanted: float, schema: dict[str, Any], *, whole: bool) -> int | float:
    """``wanted``, moved to the nearest value that ``schema`` accepts."""
    step = schema.get("multipleOf")
    if whole and (step is None or not float(step).is_integer()):
        # A whole multiple of a fraction such as 2.5 is a multiple of its denominator's smallest whole multiple.
        step = 1 if step is None else _whole_step(step)
    low, high = _bounds(schema, step)
    value = min(max(wanted, low), high)
    if step is None:
        return _tidy(value, low, high)
    multiple = round(value / step)
    if multiple * step < low:
        multiple = math.ceil(low / step)
    if multiple * step > high:
        multiple = math.floor(high / step)
    exact = multiple * step
    return int(exact) if whole or float(exact).is_integer() else exact


def _bounds(schema: dict[str, Any], step: float | None) -> tuple[float, float]:
    """The least and the greatest allowed value, exclusive bounds made inclusive."""
    low, high = -math.inf, math.inf
    if _is_number(schema.get("minimum")):
        low = schema["minimum"]
    if _is_number(schema.get("maximum")):
        high = schema["maximum"]
    if _is_number(schema.get("exclusiveMinimum")):
        low = max(low, _beyond(schema["exclusiveMinimum"], step, up=True))
    if _is_number(schema.get("exclusiveMaximum")):
        high = min(high, _beyond(schema["exclusiveMaximum"], step, up=False))
    return low, high


def _beyond(bound: float, step: float | None, *, up: bool) -> float:
    """The first value past an exclusive bound."""
    if step is None:
        return math.nextafter(bound, math.inf if up else -math.inf)
    return (math.floor(bound / step) + 1) * step if up else (math.ceil(bound / step) - 1) * step


def _tidy(value: float, low: float, high: float) -> int | float:
    """The value with few decimals, if that is allowed."""
    for digits in (2, 6):
        short = round(value, digits)
        if low <= short <= high:
            return int(short) if float(short).is_integer() and abs(short) > 1 else short
    return value


def _whole_step(step: float) -> int:
    top, bottom = float(step).as_integer_ratio()
    return top if bottom < 2**20 else max(1, round(step))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
