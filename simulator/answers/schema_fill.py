"""A JSON value that a JSON schema accepts, with its content supplied from elsewhere.

Understood: types and type lists, const, enum, anyOf, oneOf, allOf, local $ref (recursive ones too), objects with
required, additionalProperties and property counts, arrays with items, prefixItems, contains, counts and uniqueItems,
strings with lengths, pattern and the common formats, numbers with bounds and multipleOf. Where a schema contradicts
itself there is no such value; the result is then as close as it gets.

The schema is one that was checked (:mod:`simulator.answers.schema_check`), and still it may ask for a billion items, or
for two of everything forty levels deep: filling has a budget of CPU time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Protocol

from guards.check_budget import CheckBudget
from simulator.answers.dice import Dice
from simulator.answers.number_fill import fit_number
from simulator.answers.string_fill import fit_string

# Below this depth only required fields are filled, and the simplest alternative is taken, so that recursion ends.
DEEP = 5
TOO_DEEP = 40
CPU_S = 0.5  # for one answer; most take less than a hundredth of it
_STEPS_A_VALUE = 60  # a value's text costs about as much as that many steps of a check
_MOST = 100_000  # names and options; longer requests get less
MANY = 1_000_000

Schema = dict[str, Any]


class Content(Protocol):
    """Where the values come from. ``path`` names the place in the answer, such as ``items[2].reason``."""

    @property
    def dice(self) -> Dice: ...

    def string(self, path: str, description: str) -> str: ...

    def choose(self, path: str, options: Sequence[Any]) -> int: ...

    def number(self, path: str, low: float | None, high: float | None) -> float: ...

    def boolean(self, path: str, description: str) -> bool: ...

    def length(self, path: str, low: int, high: int) -> int: ...


def fill(schema: Schema | bool, content: Content) -> Any:
    """A value for ``schema``.

    Raises :class:`errors.SchemaTooCostlyError` when it takes longer than :data:`CPU_S`.
    """
    root = schema if isinstance(schema, dict) else {}
    return _Filler(root, content).value(schema, "", 0)


class _Filler:
    def __init__(self, root: Schema, content: Content) -> None:
        self._root = root
        self._content = content
        self._budget = CheckBudget(CPU_S)

    def value(self, schema: Schema | bool, path: str, depth: int) -> Any:
        self._budget.spend(_STEPS_A_VALUE)
        plain = self._plain(schema, path, depth)
        if "const" in plain:
            return plain["const"]
        if isinstance(plain.get("enum"), list) and plain["enum"]:
            enum = plain["enum"][:1000]
            self._budget.spend(len(enum))
            options = [option for option in enum if _has_type(option, plain.get("type"))] or enum
            return options[self._content.choose(path, options)]
        match _type_of(plain):
            case "object":
                return self._object(plain, path, depth)
            case "array":
                return self._array(plain, path, depth)
            case "integer" | "number" as kind:
                return self._number(plain, path, whole=kind == "integer")
            case "boolean":
                return self._content.boolean(path, str(plain.get("description", "")))
            case "null":
                return None
            case _:
                text = self._content.string(path, str(plain.get("description", "")))
                return fit_string(text, plain, self._content.dice, path, self._budget)

    def _plain(self, schema: Schema | bool, path: str, depth: int) -> Schema:
        """The schema without references, combinations and alternatives."""
        plain: Schema = schema if isinstance(schema, dict) else {}
        for _ in range(TOO_DEEP):
            self._budget.spend(len(plain))
            if isinstance(plain.get("$ref"), str):
                plain = _merged(_without(plain, "$ref"), self._resolve(plain["$ref"]))
            elif isinstance(plain.get("allOf"), list):
                rest = _without(plain, "allOf")
                for part in plain["allOf"]:
                    self._budget.spend(1 + sum(len(one) for one in rest.values() if isinstance(one, dict | list)))
                    rest = _merged(rest, part)
                plain = rest
            elif branches := plain.get("anyOf") or plain.get("oneOf"):
                key = "anyOf" if plain.get("anyOf") else "oneOf"
                plain = _merged(_without(plain, key), self._branch(branches, path, depth))
            else:
                break
        return plain

    def _branch(self, branches: list[Schema | bool], path: str, depth: int) -> Schema:
        usable = [branch for branch in branches if isinstance(branch, dict)]
        if not usable:
            return {}
        if depth >= DEEP:
            return min(usable, key=self._cost)
        real = [branch for branch in usable if branch.get("type") != "null"] or usable
        return self._content.dice.pick(real, f"{path} branch")

    def _cost(self, branch: Schema) -> int:
        """How far a branch may still lead; used to get out of a recursion."""
        if "$ref" in branch:
            branch = self._resolve(branch["$ref"])
            if "$ref" in branch or "anyOf" in branch or "oneOf" in branch or "allOf" in branch:
                return 5
        kind = _type_of(branch)
        if kind == "object":
            return 3 if branch.get("required") else 2
        if kind == "array":
            return 3 if branch.get("minItems", 0) else 1
        return 0

    def _resolve(self, reference: str) -> Schema:
        found: Any = self._root
        if not reference.startswith("#"):
            return {}
        for part in reference[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict):
                found = found.get(key)
            else:
                return {}
        return found if isinstance(found, dict) else {}

    def _object(self, schema: Schema, path: str, depth: int) -> dict[str, Any]:
        properties: dict[str, Any] = schema.get("properties") or {}
        required: dict[str, None] = dict.fromkeys(schema.get("required") or [])
        self._budget.spend(len(properties) + len(required))
        most = schema.get("maxProperties", math.inf)
        optional = [name for name in properties if name not in required and properties[name] is not False]
        kept = dict.fromkeys(optional[: int(max(0, min(most - len(required), len(optional))))] if depth < DEEP else [])
        names = [name for name in properties if name in required or name in kept]
        names += [name for name in required if name not in properties]
        others = schema.get("additionalProperties", True)
        least = int(min(schema.get("minProperties", 0), _MOST))
        if others is not False:
            for number in range(least - len(names)):
                names.append(f"field_{number + 1}")
        else:
            given = {*names}
            names += [name for name in optional if name not in given][: max(0, least - len(names))]
        if depth >= TOO_DEEP:
            return {}
        rest = others if isinstance(others, dict) else {}
        return {name: self.value(properties.get(name, rest), _inside(path, name), depth + 1) for name in names}

    def _array(self, schema: Schema, path: str, depth: int) -> list[Any]:
        if depth >= TOO_DEEP:
            return []
        fixed = schema.get("prefixItems")
        prefix: list[Any] = fixed if isinstance(fixed, list) else []
        items = schema.get("items", True)
        least = int(schema.get("minItems", 0))
        contained = schema.get("contains")
        if contained is not None:
            least = max(least, int(schema.get("minContains", 1)))
        most = int(schema.get("maxItems", max(least + 3, len(prefix))))
        if items is False:
            most = min(most, len(prefix))
        low = least if depth >= DEEP else max(least, min(most, max(1, len(prefix))))
        count = low if depth >= DEEP else self._content.length(path, low, most)
        if isinstance(items, dict) and schema.get("uniqueItems"):
            count = max(least, min(count, self._distinct(items)))
        values: list[Any] = []
        for number in range(count):
            item = prefix[number] if number < len(prefix) else items
            if contained is not None and number < schema.get("minContains", 1):
                item = _merged(item if isinstance(item, dict) else {}, contained)
            values.append(self._item(item, path, number, depth, values if schema.get("uniqueItems") else []))
        return values

    def _item(self, schema: Schema | bool, path: str, number: int, depth: int, taken: list[Any]) -> Any:
        """One item, unlike those ``taken`` if there is another."""
        if taken and isinstance(schema, dict):
            plain = self._plain(schema, path, depth)
            self._budget.spend(len(plain.get("enum") or []) * len(taken))
            free = [option for option in plain.get("enum") or [] if option not in taken]
            if free:
                schema = {**plain, "enum": free}
        for attempt in range(60):
            self._budget.spend(len(taken))
            value = self.value(schema, f"{path}[{number + attempt * 1000}]", depth + 1)
            if not any(_same(value, other) for other in taken):
                return value
        return value

    def _distinct(self, schema: Schema) -> int:
        """The number of distinct values of a schema, if it can be small."""
        plain = self._plain(schema, "", 0)
        if plain.get("enum"):
            return len(plain["enum"])
        if "const" in plain or _type_of(plain) == "null":
            return 1
        return 2 if _type_of(plain) == "boolean" else MANY

    def _number(self, schema: Schema, path: str, *, whole: bool) -> int | float:
        lows: list[float] = [schema[key] for key in ("minimum", "exclusiveMinimum") if _is_number(schema.get(key))]
        highs: list[float] = [schema[key] for key in ("maximum", "exclusiveMaximum") if _is_number(schema.get(key))]
        wanted = self._content.number(path, max(lows, default=None), min(highs, default=None))
        return fit_number(wanted, schema, whole=whole)


def _type_of(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        real = [one for one in kind if one != "null"]
        return str(real[0]) if real else "null"
    if isinstance(kind, str):
        return kind
    for hint, implied in (
        (("properties", "required", "additionalProperties"), "object"),
        (("items", "prefixItems", "minItems", "contains"), "array"),
        (("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
    ):
        if any(word in schema for word in hint):
            return implied
    return "string"


def _has_type(value: Any, kind: Any) -> bool:
    if kind is None:
        return True
    if isinstance(kind, list):
        return any(_has_type(value, one) for one in kind)
    actual = {bool: "boolean", str: "string", list: "array", dict: "object", type(None): "null"}
    if type(value) in actual:
        return bool(actual[type(value)] == kind)
    return bool(kind == "number" or (kind == "integer" and float(value).is_integer()))


def _merged(first: Schema, second: Schema | bool) -> Schema:
    """A schema for what both schemas require, as far as one schema can say it."""
    if not isinstance(second, dict):
        return first
    both = {**second, **first}
    for key in first.keys() & second.keys():
        one, other = first[key], second[key]
        if key == "properties":
            names = [*one, *(name for name in other if name not in one)]
            both[key] = {
                name: _merged(one[name], other[name])
                if isinstance(one.get(name), dict) and name in other
                else one.get(name, other.get(name))
                for name in names
            }
        elif key == "required":
            both[key] = [*one, *(name for name in other if name not in one)]
        elif key == "enum":
            both[key] = [option for option in one if option in other] or one
        elif key in ("allOf", "$defs", "definitions"):
            both[key] = [*one, *other] if isinstance(one, list) else {**other, **one}
        elif key in ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"):
            both[key] = max(one, other)
        elif key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"):
            both[key] = min(one, other)
        elif key == "additionalProperties":
            both[key] = False if one is False or other is False else one
        elif key == "type":
            both[key] = _common_type(one, other)
    return both


def _common_type(one: Any, other: Any) -> Any:
    ones = one if isinstance(one, list) else [one]
    others = other if isinstance(other, list) else [other]
    common = [kind for kind in ones if kind in others]
    if not common and "integer" in (*ones, *others) and "number" in (*ones, *others):
        common = ["integer"]
    return (common[0] if len(common) == 1 else common) or one


def _same(one: Any, other: Any) -> bool:
    """JSON equality: 1 and 1.0 are equal, 1 and true are not."""
    return bool(one == other) and (isinstance(one, bool) == isinstance(other, bool))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _without(schema: Schema, key: str) -> Schema:
    return {name: value for name, value in schema.items() if name != key}


def _inside(path: str, name: str) -> str:
    clean = re.sub(r"[.\[\]]", "_", name)
    return f"{path}.{clean}" if path else clean
