"""JSON values as keys of sets, so that ``enum``, ``const`` and ``uniqueItems`` cost one look-up a value.

Equal as JSON Schema says: 1 and 1.0 are equal, 1 and true are not, and the order of an object's names does not matter.
"""

from __future__ import annotations

from typing import Any, Final

from guards.check_budget import CheckBudget

_TRUE: Final = ("truth", True)
_FALSE: Final = ("truth", False)
_PLAIN: Final = 1 << 60  # Python hashes integers modulo 2^61 - 1: larger ones could be chosen to collide


def key_of(value: Any, budget: CheckBudget) -> Any:
    """The key of a JSON value (nested no deeper than its reader allowed): two keys are equal if the values are.

    Its cost, hashing included, is counted against the budget.
    """
    kind = value.__class__
    if kind is dict or kind is list:
        known = budget.keys.get(id(value))
        if known is not None:
            budget.spend(known[1] >> 3)  # the caller hashes it again
            return known[0]
        return _key_of_container(value, budget)[0]
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is float and value.is_integer():
        value = int(value)
    if value.__class__ is int and not -_PLAIN < value < _PLAIN:
        return ("number", hex(value))
    return value


def _key_of_container(value: Any, budget: CheckBudget) -> tuple[Any, int]:
    size = 1 + len(value)
    budget.spend(size)
    key: Any
    if value.__class__ is dict:
        pairs = []
        for name, one in value.items():
            pairs.append((name, key_of(one, budget)))
            if one.__class__ is dict or one.__class__ is list:
                size += budget.keys[id(one)][1]
        key = frozenset(pairs)
    else:
        parts = ["list"]
        for one in value:
            parts.append(key_of(one, budget))
            if one.__class__ is dict or one.__class__ is list:
                size += budget.keys[id(one)][1]
        key = tuple(parts)
    budget.keys[id(value)] = key, size
    return key, size
