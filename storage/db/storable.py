"""JSON that Postgres can keep: ``jsonb`` refuses the character NUL, halves of surrogate pairs, NaN and infinity.

What a provider answered goes into the job's outcome, so nothing here recurses over it: its depth is bounded first.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from errors import ResultNotStorableError

MOST_LEVELS: Final = 100
"""Lists and objects in each other; fewer than ``storage.db.reading`` reads."""


def storable(value: Any) -> str:
    """The value as JSON for ``jsonb``: NUL is left out, half of a surrogate pair becomes ``?``, NaN becomes null.

    Raises :class:`errors.ResultNotStorableError` for what cannot be JSON: too deep, an integer of thousands of digits,
    an object of Python's.
    """
    try:
        return json.dumps(_kept(value))
    except (TypeError, ValueError) as error:
        raise ResultNotStorableError(f"what the job came to holds what is not JSON ({type(error).__name__})") from error


def _kept(value: Any) -> Any:
    made: list[Any] = [None]
    todo: list[tuple[Any, Any, Any, int]] = [(value, made, 0, 1)]  # what, and where in what was made its copy goes
    while todo:
        one, home, place, level = todo.pop()
        if level > MOST_LEVELS:
            raise ResultNotStorableError(f"what the job came to is nested deeper than {MOST_LEVELS} levels")
        copy: Any
        if isinstance(one, dict):
            copy = {_plain(key): _plain(member) for key, member in one.items()}
            within = copy.items()
        elif isinstance(one, list | tuple):
            copy = [_plain(member) for member in one]
            within = enumerate(copy)
        else:
            return _plain(one)
        home[place] = copy
        todo += [(member, copy, key, level + 1) for key, member in within if isinstance(member, dict | list | tuple)]
    return made[0]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        if value.isascii() and "\x00" not in value:
            return value
        return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return None if isinstance(value, float) and not math.isfinite(value) else value
