"""The keywords of JSON Schema as steps: each checks a value against one keyword, and says where it fails and why.

A step is counted against the budget by its cost. A fault says what was expected at which place. It quotes nothing of
the answer but names of properties, cut short, and is never longer than a line.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, TypeAlias

from guards.check_budget import DEEPEST_CHECK, CheckBudget
from guards.json_equality import key_of
from guards.patterns import Pattern

Place: TypeAlias = "tuple[str | int, Place] | None"
Fault: TypeAlias = tuple[str, Place]
Step: TypeAlias = Callable[[Any, CheckBudget, int], Fault | None]

OBJECT, ARRAY, STRING, INTEGER, FLOAT, BOOLEAN, NULL = range(7)
KINDS: Final = {dict: OBJECT, list: ARRAY, str: STRING, int: INTEGER, float: FLOAT, bool: BOOLEAN, type(None): NULL}
NAMES: Final = ("an object", "an array", "a string", "an integer", "a number", "a boolean", "null")
EVERY_KIND: Final = range(7)
NUMBERS: Final = (INTEGER, FLOAT)
TYPES: Final = {
    "object": (OBJECT,),
    "array": (ARRAY,),
    "string": (STRING,),
    "number": NUMBERS,
    "integer": NUMBERS,
    "boolean": (BOOLEAN,),
    "null": (NULL,),
}

_SHOWN: Final = 60  # characters of a name in a fault


class Node:
    """One schema, as the steps for each kind of value. Made empty and filled later, because schemas refer to each
    other.
    """

    __slots__ = ("evaluates_items", "evaluates_names", "here", "steps")

    def __init__(self) -> None:
        self.steps: Steps = NO_STEPS
        self.here: Sequence[Node] = ()
        """The schemas that apply at the same place: those of allOf, anyOf, if, $ref and the like."""
        self.evaluates_names: Sequence[NamesOf] = ()
        self.evaluates_items: Sequence[ItemsOf] = ()


Steps: TypeAlias = Sequence[Sequence[Step]]
NamesOf: TypeAlias = Callable[[Mapping[str, Any], CheckBudget, int], Iterable[str]]
ItemsOf: TypeAlias = Callable[[Sequence[Any], CheckBudget, int], Iterable[int]]
NO_STEPS: Final[Steps] = ((),) * 7


def check(node: Node, value: Any, budget: CheckBudget, depth: int) -> Fault | None:
    """Check a value against a schema: its first fault, or None."""
    if depth > DEEPEST_CHECK:
        raise budget.too_deep()
    budget.left -= 1
    if budget.left < 0:
        budget.look()
    for step in node.steps[KINDS[value.__class__]]:
        fault = step(value, budget, depth)
        if fault is not None:
            return fault
    return None


def shown(name: str) -> str:
    """A property's name for a message."""
    return repr(name) if len(name) <= _SHOWN else f"{name[:_SHOWN]!r}… ({len(name)} characters)"


def _inside(fault: Fault, part: str | int) -> Fault:
    return fault[0], (part, fault[1])


# ------------------------------------------------------------------------------------------------- of any kind


def never(text: str) -> Step:
    """Nothing passes."""

    def step(value: Any, budget: CheckBudget, depth: int) -> Fault | None:
        return text, None

    return step


@lru_cache(maxsize=256)
def steps_of_type(types: tuple[str, ...]) -> Steps:
    """``type``: for each kind of value, no step if it is allowed. Many schemas have no other keyword and share these
    steps.
    """
    allowed = {kind for one in types for kind in TYPES[one]}
    expected = f"must be of type {' or '.join(types)}"
    steps = [() if kind in allowed else (never(f"{expected}, but is {NAMES[kind]}"),) for kind in EVERY_KIND]
    if "integer" in types and "number" not in types:
        steps[FLOAT] = (whole_number(f"{expected}, but has a fraction"),)
    return tuple(steps)


def whole_number(text: str) -> Step:
    """A float passes as an integer if it has no fraction."""

    def step(value: float, budget: CheckBudget, depth: int) -> Fault | None:
        return None if value.is_integer() else (text, None)

    return step


def one_of_values(values: Sequence[Any], text: str) -> Step:
    """``enum`` and ``const``: one look-up, however many values there are."""
    unbounded = CheckBudget(math.inf)  # the schema's own values: its size is their bound
    allowed = frozenset(key_of(value, unbounded) for value in values)
    containers = any(isinstance(value, dict | list) for value in values)

    def step(value: Any, budget: CheckBudget, depth: int) -> Fault | None:
        if value.__class__ in (dict, list) and not containers:
            return text, None
        return None if key_of(value, budget) in allowed else (text, None)

    return step


def reference(target: Node) -> Step:
    """``$ref``: a value that comes here again, by any way, is not checked again."""

    def step(value: Any, budget: CheckBudget, depth: int) -> Fault | None:
        place = (id(target), id(value))
        if place in budget.seen:
            fault: Fault | None = budget.seen[place]
            return fault
        fault = check(target, value, budget, depth + 1)
        budget.seen[place] = fault
        return fault

    return step


def all_of(nodes: Sequence[Node]) -> Step:
    """``allOf``."""

    def step(value: Any, budget: CheckBudget, depth: int) -> Fault | None:
        for node in nodes:
            fault = check(node, value, budget, depth + 1)
            if fault is not None:
                return fault
        return None

    return step


def any_of(nodes: Sequence[Node], word: str) -> Step:
    """``anyOf``; its fault is that of the alternative that got furthest."""

    def step(value: Any, budget: CheckBudget, depth: int) -> Fault | None:
        furthest: Fault | None = None
        for node in nodes:
            fault = check(node, value, budget, depth + 1)
            if fault is None:
                return None
            if fault[1] is not None and (furthest is None or _length(fault[1]) > _length(furthest[1])):
                furthest = fault
        if furthest is None:
            return f"{NAMES[KINDS[value.__class__]]} matches none of the {len(nodes)} schemas of {word}", None
        return furthest

    return step


def one_of(nodes: Sequence[Node]) -> Step:
    """``oneOf``."""
    any_step = any_of(nodes, "oneOf")

    def step(value: Any, budget: CheckBudget, depth: int) -> Fault | None:
        matches = 0
        for node in nodes:
            if check(node, value, budget, depth + 1) is None:
                matches += 1
                if matches > 1:
                    return "matches more than one of the schemas of oneOf", None
        return None if matches else any_step(value, budget, depth)

    return step


def not_(node: Node) -> Step:
    """``not``."""

    def step(value: Any, budget: CheckBudget, depth: int) -> Fault | None:
        if check(node, value, budget, depth + 1) is None:
            return "matches the schema of not", None
        return None

    return step


def if_(condition: Node, then: Node | None, otherwise: Node | None) -> Step:
    """``if``, ``then``, ``else``."""

    def step(value: Any, budget: CheckBudget, depth: int) -> Fault | None:
        node = then if check(condition, value, budget, depth + 1) is None else otherwise
        return None if node is None else check(node, value, budget, depth + 1)

    return step


def _length(place: Place) -> int:
    length = 0
    while place is not None:
        length, place = length + 1, place[1]
    return length


# ---------------------------------------------------------------------------------------------- numbers and texts


def bound(word: str, limit: float) -> Step:
    """``minimum`` and its like."""
    told, holds = {
        "minimum": ("is less than the minimum of", operator.ge),
        "maximum": ("is greater than the maximum of", operator.le),
        "exclusiveMinimum": ("is not greater than", operator.gt),
        "exclusiveMaximum": ("is not less than", operator.lt),
    }[word]
    text = f"{told} {number_text(limit)}"

    def step(value: Any, budget: CheckBudget, depth: int) -> Fault | None:
        return None if holds(value, limit) else (text, None)

    return step


def multiple_of(unit: float) -> Step:
    """``multipleOf``, of the decimal numbers that are written: 19.99 is a multiple of 0.01."""
    exact = _decimal(unit)

    def step(value: Any, budget: CheckBudget, depth: int) -> Fault | None:
        budget.spend(20)
        if (_decimal(value) / exact).denominator == 1:
            return None
        return f"is not a multiple of {number_text(unit)}", None

    return step


def _decimal(number: float) -> Fraction:
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def number_text(number: float) -> str:
    """A number for a message; no longer than a line, whatever the schema says."""
    text = str(number)
    return text if len(text) <= 30 else f"{text[:20]}… ({len(text)} digits)"


def size_bound(word: str, limit: int) -> Step:
    """``minLength``, ``maxItems`` and their like."""
    least = word.startswith("min")
    what = {"Length": "characters", "Items": "items", "Properties": "properties"}[word[3:]]
    text = f"has {'fewer' if least else 'more'} than {number_text(limit)} {what}"

    def step(value: Any, budget: CheckBudget, depth: int) -> Fault | None:
        size = len(value)
        return (text, None) if (size < limit if least else size > limit) else None

    return step


def pattern(one: Pattern) -> Step:
    """``pattern``."""
    source = shown(one.source)

    def step(value: str, budget: CheckBudget, depth: int) -> Fault | None:
        return None if one.is_in(value, budget) else (f"does not match the pattern {source}", None)

    return step


# --------------------------------------------------------------------------------------------------------- arrays


def items(prefix: Sequence[Node], rest: Node | None) -> Step:
    """``prefixItems`` and ``items`` (in older drafts ``items`` and ``additionalItems``)."""

    def step(value: list[Any], budget: CheckBudget, depth: int) -> Fault | None:
        for index, node in enumerate(prefix):
            if index >= len(value):
                return None
            fault = check(node, value[index], budget, depth + 1)
            if fault is not None:
                return _inside(fault, index)
        if rest is not None:
            for index in range(len(prefix), len(value)):
                fault = check(rest, value[index], budget, depth + 1)
                if fault is not None:
                    return _inside(fault, index)
        return None

    return step


def contains(node: Node, least: int, most: int | None) -> Step:
    """``contains``, ``minContains``, ``maxContains``."""

    def step(value: list[Any], budget: CheckBudget, depth: int) -> Fault | None:
        matches = 0
        for item in value:
            if most is None and matches >= least:
                return None
            matches += check(node, item, budget, depth + 1) is None
        if matches < least:
            return f"has fewer than {number_text(least)} items that match contains", None
        if most is not None and matches > most:
            return f"has more than {number_text(most)} items that match contains", None
        return None

    return step


def unique_items(value: list[Any], budget: CheckBudget, depth: int) -> Fault | None:
    """``uniqueItems``."""
    taken = set()
    for index, item in enumerate(value):
        key = key_of(item, budget)
        budget.left -= 1
        if budget.left < 0:
            budget.look()
        if key in taken:
            return "equals an item before it", (index, None)
        taken.add(key)
    return None


def unevaluated_items(evaluates: Sequence[ItemsOf], rest: Node) -> Step:
    """``unevaluatedItems``: those that no other keyword at this place spoke of."""

    def step(value: list[Any], budget: CheckBudget, depth: int) -> Fault | None:
        evaluated = items_of(evaluates, value, budget, depth)
        for index, item in enumerate(value):
            if index not in evaluated:
                fault = check(rest, item, budget, depth + 1)
                if fault is not None:
                    return _inside(fault, index)
        return None

    return step


def items_of(evaluates: Sequence[ItemsOf], value: Sequence[Any], budget: CheckBudget, depth: int) -> set[int]:
    """The places of the items that a schema, which the value matches, speaks of."""
    if depth > DEEPEST_CHECK:
        raise budget.too_deep()
    found: set[int] = set()
    for items_here in evaluates:
        budget.spend(1 + (len(value) >> 3))
        found.update(items_here(value, budget, depth + 1))
    return found


# -------------------------------------------------------------------------------------------------------- objects


def required(names: Sequence[str]) -> Step:
    """``required``."""

    def step(value: dict[str, Any], budget: CheckBudget, depth: int) -> Fault | None:
        budget.left -= len(names) >> 3
        for name in names:
            if name not in value:
                return f"{shown(name)} is a required property", None
        return None

    return step


def properties(named: Mapping[str, Node], patterns: Sequence[tuple[Pattern, Node]], rest: Node | None) -> Step:
    """``properties``, ``patternProperties``, ``additionalProperties``."""
    if not patterns and rest is None:

        def declared(value: dict[str, Any], budget: CheckBudget, depth: int) -> Fault | None:
            for name in named if len(named) < len(value) else value:
                if name in named and name in value:
                    fault = check(named[name], value[name], budget, depth + 1)
                    if fault is not None:
                        return _inside(fault, name)
                else:
                    budget.left -= 1
            return None

        return declared

    def step(value: dict[str, Any], budget: CheckBudget, depth: int) -> Fault | None:
        for name, one in value.items():
            budget.left -= 1
            node = named.get(name)
            extra = node is None
            fault = None if node is None else check(node, one, budget, depth + 1)
            for each, under in patterns:
                if fault is None and each.is_in(name, budget):
                    extra = False
                    fault = check(under, one, budget, depth + 1)
            if extra and fault is None and rest is not None:
                fault = check(rest, one, budget, depth + 1)
                if fault is not None and fault[1] is None and rest is NOTHING:
                    return f"the property {shown(name)} is not allowed", None
            if fault is not None:
                return _inside(fault, name)
        return None

    return step


def property_names(node: Node) -> Step:
    """``propertyNames``."""

    def step(value: dict[str, Any], budget: CheckBudget, depth: int) -> Fault | None:
        for name in value:
            fault = check(node, name, budget, depth + 1)
            if fault is not None:
                return f"the name {shown(name)} {fault[0]}", None
        return None

    return step


def dependent_required(names: Mapping[str, Sequence[str]]) -> Step:
    """``dependentRequired``."""

    def step(value: dict[str, Any], budget: CheckBudget, depth: int) -> Fault | None:
        budget.left -= len(names) >> 3
        for name, needed in names.items():
            if name in value:
                budget.spend(len(needed) >> 3)
                for other in needed:
                    if other not in value:
                        return f"{shown(other)} is required where there is {shown(name)}", None
        return None

    return step


def dependent_schemas(nodes: Mapping[str, Node]) -> Step:
    """``dependentSchemas``."""

    def step(value: dict[str, Any], budget: CheckBudget, depth: int) -> Fault | None:
        budget.left -= len(nodes) >> 3
        for name, node in nodes.items():
            if name in value:
                fault = check(node, value, budget, depth + 1)
                if fault is not None:
                    return fault
        return None

    return step


def unevaluated_properties(evaluates: Sequence[NamesOf], rest: Node) -> Step:
    """``unevaluatedProperties``: those that no other keyword at this place spoke of."""

    def step(value: dict[str, Any], budget: CheckBudget, depth: int) -> Fault | None:
        evaluated = names_of(evaluates, value, budget, depth)
        for name, one in value.items():
            if name not in evaluated:
                fault = check(rest, one, budget, depth + 1)
                if fault is not None and fault[1] is None and rest is NOTHING:
                    return f"the property {shown(name)} is not allowed", None
                if fault is not None:
                    return _inside(fault, name)
        return None

    return step


def names_of(evaluates: Sequence[NamesOf], value: Mapping[str, Any], budget: CheckBudget, depth: int) -> set[str]:
    """The names of the properties that a schema, which the value matches, speaks of."""
    if depth > DEEPEST_CHECK:
        raise budget.too_deep()
    found: set[str] = set()
    for names_here in evaluates:
        budget.spend(1 + (len(value) >> 3))
        found.update(names_here(value, budget, depth + 1))
    return found


ANYTHING: Final = Node()
"""The schema ``true``."""

NOTHING: Final = Node()
"""The schema ``false``."""
NOTHING.steps = ((never("is not allowed"),),) * 7
