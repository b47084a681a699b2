"""JSON that Postgres can keep: ``jsonb`` refuses the character NUL, halves of surrogate pairs, NaN and infinity.

What a provider answered goes into the job's outcome; if its text could stop ``settle``, the job would be held by its
claim until that times out, and run, and be paid, again.
"""

from __future__ import annotations

import math
from typing import Any

from psycopg.types.json import Jsonb


def storable(value: Any) -> Jsonb:
    """The value as ``jsonb``: NUL is left out, half of a surrogate pair becomes a question mark, NaN becomes null."""
    return Jsonb(_kept(value))


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_kept(key): _kept(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_kept(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
