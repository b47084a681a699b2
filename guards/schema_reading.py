"""A JSON schema read into steps that answers are checked with, in time linear in its size.

What cannot be read is refused with its place. Four drafts are read (6, 7, 2019-09, 2020-12). A schema is
self-contained: a reference is a pointer into it, there is one ``$id`` at most, and nothing is ever fetched.

The bounds of a schema are :data:`MAX_BYTES` and the other limits. OpenAI takes 5,000 properties in 10 levels, with
120,000 characters of names and values; such a schema fits. A reference is counted as its expansion at one place of the
answer, along every path. A reference that leads to itself without going into the answer is refused, because it would
never end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, NoReturn, TypeAlias
from urllib.parse import unquote

from errors import InvalidSchemaError
from guards import schema_keywords as keywords
from guards.patterns import Pattern
from guards.schema_keywords import ANYTHING, NOTHING, Node, check, items_of, names_of

MAX_BYTES: Final = 400_000
MAX_SUBSCHEMAS: Final = 10_000
MAX_EXPANDED: Final = 10_000
"""Subschemas that apply at one place of the answer, references followed."""
MAX_CHAIN: Final = 100
"""Nested subschemas that apply at one place of the answer."""
MAX_PATTERNS: Final = 200
MAX_INSTRUCTIONS: Final = 50_000
"""Of all patterns together, compiled (a pattern for dates has 12)."""

FIELD: Final = "output_schema"
_SHOWN: Final = 200
_DEFAULT_DRAFT: Final = 2020
_DRAFTS: Final = {
    "http://json-schema.org/draft-06/schema": 6,
    "http://json-schema.org/draft-07/schema": 7,
    "https://json-schema.org/draft/2019-09/schema": 2019,
    "https://json-schema.org/draft/2020-12/schema": 2020,
}

Where: TypeAlias = "tuple[Where, str | int] | None"


def read_schema(schema: Mapping[str, Any]) -> Node:
    """The steps of a schema (as ``json.loads`` gives it: a tree, no deeper than ``guards.cleaning.DEEPEST``).

    Raises :class:`errors.InvalidSchemaError` naming the place in the schema and the value there.
    """
    return _Reader(schema).read()


def refuse(message: str, where: Where, value: object, hint: str | None = None) -> NoReturn:
    """Refuse a schema for the value at one of its places."""
    parts: list[str] = []
    while where is not None:
        where, part = where
        name = str(part)
        parts.append(f"[{name}]" if isinstance(part, int) else "." + (name if len(name) <= 60 else f"{name[:60]}…"))
    if len(parts) > 20:
        parts[10:-10] = ["…"]
    if isinstance(value, str):
        value = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}… ({len(value)} characters)"
    elif isinstance(value, dict | list):
        value = f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        value = keywords.number_text(value)
    raise InvalidSchemaError(message, field=FIELD + "".join(reversed(parts)), value=value, hint=hint)


class _Reader:
    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = schema
        self._draft = self._draft_of(schema)
        self._nodes: dict[int, Node] = {}
        self._places: dict[int, Where] = {}
        self._todo: list[tuple[Mapping[str, Any], Node, Where]] = []
        self._patterns = 0
        self._instructions = 0

    def read(self) -> Node:
        root = self.node(self._root, None)
        read: list[tuple[Node, dict[str, Any]]] = []
        while self._todo:
            schema, node, where = self._todo.pop()
            parts = {
                word: _READERS[word](self, value, (where, word)) for word, value in schema.items() if word in _READERS
            }
            read.append((node, self._words(parts)))
        unevaluated = any(word in parts for _, parts in read for word in ("unevaluatedItems", "unevaluatedProperties"))
        for node, parts in read:
            if parts:
                _Assembly(node, parts, self._draft, unevaluated=unevaluated).assemble()
        self._check_expansion()
        return root

    # --------------------------------------------------------------------------------------- the parts of a schema

    def node(self, schema: Any, where: Where) -> Node:
        """The node of a subschema; it is filled later."""
        if schema is True:
            return ANYTHING
        if schema is False:
            return NOTHING
        if not isinstance(schema, dict):
            refuse("must be a schema: an object, true or false", where, schema)
        node = self._nodes.get(id(schema))
        if node is None:
            if len(self._nodes) >= MAX_SUBSCHEMAS:
                refuse(f"has more than {MAX_SUBSCHEMAS} subschemas", None, None)
            node = self._nodes[id(schema)] = Node()
            self._places[id(node)] = where
            self._todo.append((schema, node, where))
        return node

    def nodes(self, schemas: Any, where: Where) -> list[Node]:
        if not isinstance(schemas, list) or not schemas:
            refuse("must be an array of one schema or more", where, schemas)
        return [self.node(one, (where, index)) for index, one in enumerate(schemas)]

    def named_nodes(self, schemas: Any, where: Where) -> dict[str, Node]:
        if not isinstance(schemas, dict):
            refuse("must be an object of names and schemas", where, schemas)
        return {name: self.node(one, (where, name)) for name, one in schemas.items()}

    def items(self, value: Any, where: Where) -> Node | list[Node]:
        if isinstance(value, list) and self._draft < 2020:
            return self.nodes(value, where) if value else []
        return self.node(value, where)

    def patterns(self, schemas: Any, where: Where) -> list[tuple[Pattern, Node]]:
        named = self.named_nodes(schemas, where)
        return [(self.pattern(source, (where, source)), node) for source, node in named.items()]

    def pattern(self, source: Any, where: Where) -> Pattern:
        if not isinstance(source, str):
            refuse("must be a regular expression, as a string", where, source)
        try:
            pattern = Pattern(source)
        except ValueError as error:
            refuse(str(error), where, source)
        self._patterns += 1
        self._instructions += pattern.instructions
        if self._patterns > MAX_PATTERNS or self._instructions > MAX_INSTRUCTIONS:
            refuse(
                f"is one pattern too many: a schema may have {MAX_PATTERNS} patterns, which compile to "
                f"{MAX_INSTRUCTIONS} instructions together",
                where,
                source,
            )
        return pattern

    def reference(self, target: Any, where: Where) -> Node:
        if not isinstance(target, str):
            refuse("must be a string", where, target)
        part, place = self._pointed_at(target)
        if not isinstance(part, dict | bool):
            refuse(
                "must refer to a part of this schema",
                where,
                target,
                hint='Write "#/$defs/name" and put the part there.',
            )
        return self.node(part, place)

    def dependencies(self, value: Any, where: Where) -> tuple[dict[str, list[str]], dict[str, Node]]:
        if not isinstance(value, dict):
            refuse("must be an object", where, value)
        names = {name: _names(self, one, (where, name)) for name, one in value.items() if isinstance(one, list)}
        return names, {name: self.node(one, (where, name)) for name, one in value.items() if name not in names}

    def draft(self, value: Any, where: Where) -> None:
        if value is not self._root.get("$schema") and (
            not isinstance(value, str) or _DRAFTS.get(value.removesuffix("#")) != self._draft
        ):
            refuse("must be the dialect of the whole schema", where, value)

    def identifier(self, value: Any, where: Where) -> None:
        if not isinstance(value, str):
            refuse("must be a string", where, value)
        if where is not None and where[0] is not None:
            refuse("only the whole schema may have an $id", where, value)

    # --------------------------------------------------------------------------------------------------- the whole

    @staticmethod
    def _draft_of(schema: Mapping[str, Any]) -> int:
        dialect = schema.get("$schema")
        if dialect is None and "$schema" not in schema:
            return _DEFAULT_DRAFT
        if not isinstance(dialect, str):
            refuse("must be the URI of a dialect", (None, "$schema"), dialect)
        draft = _DRAFTS.get(dialect.removesuffix("#"))
        if draft is None:
            refuse(
                "is not a dialect that is read here",
                (None, "$schema"),
                dialect,
                hint=f"Leave it out, or write one of {', '.join(_DRAFTS)}.",
            )
        return draft

    def _words(self, parts: dict[str, Any]) -> dict[str, Any]:
        """The keywords that have a meaning in the schema's draft; all of them were read, so that none is malformed."""
        if self._draft < 2019:
            if "$ref" in parts:
                return {"$ref": parts["$ref"]}
            foreign = _SINCE_2019 | _SINCE_2020 | ({"if", "then", "else"} if self._draft < 7 else set())
        else:
            foreign = {"dependencies"} | (_SINCE_2020 if self._draft < 2020 else {"additionalItems", "$recursiveRef"})
        return {word: part for word, part in parts.items() if word not in foreign}

    def _pointed_at(self, reference: str) -> tuple[Any, Where]:
        """What a JSON pointer (RFC 6901) in a reference leads to inside the schema; None when it leads nowhere."""
        where: Where = None
        if not reference.startswith("#") or reference[1:2] not in ("", "/"):
            return None, where
        part: Any = self._root
        for step in unquote(reference[1:]).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(part, dict) and name in part:
                part, where = part[name], (where, name)
            elif (
                isinstance(part, list) and name.isascii() and name.isdigit() and len(name) < 7 and int(name) < len(part)
            ):
                part, where = part[int(name)], (where, int(name))
            else:
                return None, where
        return part, where

    def _check_expansion(self) -> None:
        """Count the schemas that apply at one place, along every path; each schema is counted once and multiplied."""
        counted: dict[int, tuple[int, int]] = {}  # by node: subschemas, and how deep they are in each other
        for start in self._nodes.values():
            path: list[tuple[Node, Iterator[Node]]] = [(start, iter(start.here))]
            on_path = {id(start)}
            while path and id(start) not in counted:
                node, inner = path[-1]
                below = next((one for one in inner if id(one) not in counted), None)
                if below is None:
                    path.pop()
                    on_path.discard(id(node))
                    counted[id(node)] = self._expansion(node, counted)
                elif id(below) in on_path:
                    refuse(
                        "refers to itself without going into the answer, so it never ends",
                        self._places[id(below)],
                        None,
                        hint="Put the reference below properties or items.",
                    )
                else:
                    path.append((below, iter(below.here)))
                    on_path.add(id(below))

    def _expansion(self, node: Node, counted: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
        below = [counted[id(one)] for one in node.here]
        count, chain = 1 + sum(one[0] for one in below), 1 + max((one[1] for one in below), default=0)
        if count > MAX_EXPANDED or chain > MAX_CHAIN:
            what = f"more than {MAX_EXPANDED} schemas" if count > MAX_EXPANDED else f"more than {MAX_CHAIN} levels"
            refuse(
                f"its references and alternatives come to {what} at one place of the answer",
                self._places[id(node)],
                None,
                hint="Use fewer nested references.",
            )
        return count, chain


# ------------------------------------------------------------------------------------------- the shapes of keywords


def _text(reader: _Reader, value: Any, where: Where) -> str:
    if not isinstance(value, str):
        refuse("must be a string", where, value)
    return value


def _flag(reader: _Reader, value: Any, where: Where) -> bool:
    if not isinstance(value, bool):
        refuse("must be true or false", where, value)
    return value


def _list(reader: _Reader, value: Any, where: Where) -> list[Any]:
    if not isinstance(value, list):
        refuse("must be an array", where, value)
    return value


def _value(reader: _Reader, value: Any, where: Where) -> Any:
    return value


def _number(reader: _Reader, value: Any, where: Where) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        refuse("must be a number", where, value)
    if isinstance(value, float) and not math.isfinite(value):
        refuse("must be a number", where, value)
    return value


def _unit(reader: _Reader, value: Any, where: Where) -> float:
    if _number(reader, value, where) <= 0:
        refuse("must be a number above 0", where, value)
    return float(value) if isinstance(value, float) else int(value)


def _count(reader: _Reader, value: Any, where: Where) -> int:
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0 or value != value // 1:
        refuse("must be a whole number, not below 0", where, value)
    return int(value)


def _names(reader: _Reader, value: Any, where: Where) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        refuse("must be an array of strings", where, value)
    if len(set(value)) < len(value):
        refuse("must not say a name twice", where, value)
    return value


def _named_names(reader: _Reader, value: Any, where: Where) -> dict[str, list[str]]:
    if not isinstance(value, dict):
        refuse("must be an object of names and arrays of names", where, value)
    return {name: _names(reader, one, (where, name)) for name, one in value.items()}


def _types(reader: _Reader, value: Any, where: Where) -> list[str]:
    types = value if isinstance(value, list) else [value]
    if not types or not all(isinstance(one, str) and one in keywords.TYPES for one in types):
        refuse(f"must be of {', '.join(keywords.TYPES)}, or an array of them", where, value)
    if len(set(types)) < len(types):
        refuse("must not say a type twice", where, value)
    return types


_READERS: Final[dict[str, Callable[[_Reader, Any, Where], Any]]] = (
    dict.fromkeys(("$ref", "$dynamicRef", "$recursiveRef"), _Reader.reference)
    | dict.fromkeys(
        ("title", "description", "format", "$comment", "$anchor", "$dynamicAnchor", "contentEncoding"), _text
    )
    | dict.fromkeys(("contentMediaType",), _text)
    | dict.fromkeys(("readOnly", "writeOnly", "deprecated", "$recursiveAnchor", "uniqueItems"), _flag)
    | dict.fromkeys(("examples", "enum"), _list)
    | dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number)
    | dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _count)
    | dict.fromkeys(("minContains", "maxContains"), _count)
    | dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _Reader.nodes)
    | dict.fromkeys(("not", "if", "then", "else", "contains", "propertyNames", "contentSchema"), _Reader.node)
    | dict.fromkeys(
        ("additionalProperties", "additionalItems", "unevaluatedProperties", "unevaluatedItems"), _Reader.node
    )
    | dict.fromkeys(("properties", "dependentSchemas", "$defs", "definitions"), _Reader.named_nodes)
    | {
        "$schema": _Reader.draft,
        "$id": _Reader.identifier,
        "const": _value,
        "dependencies": _Reader.dependencies,
        "dependentRequired": _named_names,
        "items": _Reader.items,
        "multipleOf": _unit,
        "pattern": _Reader.pattern,
        "patternProperties": _Reader.patterns,
        "required": _names,
        "type": _types,
    }
)
_SINCE_2019: Final = {"dependentRequired", "dependentSchemas", "minContains", "maxContains", "$recursiveRef"} | {
    "unevaluatedItems",
    "unevaluatedProperties",
}
_SINCE_2020: Final = {"prefixItems", "$dynamicRef"}


# ------------------------------------------------------------------------------------------------ parts become steps


class _Assembly:
    """One schema's parts, put together as the steps of its node: the cheap ones first."""

    def __init__(self, node: Node, parts: Mapping[str, Any], draft: int, *, unevaluated: bool) -> None:
        self._node = node
        self._parts = parts
        self._draft = draft
        self._unevaluated = unevaluated  # whether the properties and items that were evaluated matter to any schema
        self._steps: list[tuple[keywords.Step, Collection[int]]] = []
        self._here: list[Node] = []
        self._names: list[keywords.NamesOf] = []
        self._items: list[keywords.ItemsOf] = []

    def assemble(self) -> None:
        if len(self._parts) > ("type" in self._parts):
            self._values()
            self._numbers_and_texts()
            self._sizes()
            self._same_place()
            self._arrays()
            self._objects()
        types = self._parts.get("type")
        steps = keywords.NO_STEPS if types is None else keywords.steps_of_type(tuple(types))
        if self._steps:
            allowed = keywords.EVERY_KIND if types is None else {kind for one in types for kind in keywords.TYPES[one]}
            steps = [
                (*steps[kind], *(step for step, kinds in self._steps if kind in kinds))
                if kind in allowed
                else steps[kind]
                for kind in keywords.EVERY_KIND
            ]
        self._node.steps = steps
        self._node.here = self._here
        if self._unevaluated:
            self._node.evaluates_names, self._node.evaluates_items = self._names, self._items

    def _add(self, step: keywords.Step, *kinds: int) -> None:
        self._steps.append((step, kinds or keywords.EVERY_KIND))

    def _values(self) -> None:
        if "enum" in self._parts:
            values = self._parts["enum"]
            self._add(keywords.one_of_values(values, f"is not one of the {len(values)} values of enum"))
        if "const" in self._parts:
            self._add(keywords.one_of_values([self._parts["const"]], "is not the value of const"))

    def _numbers_and_texts(self) -> None:
        for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if word in self._parts:
                self._add(keywords.bound(word, self._parts[word]), *keywords.NUMBERS)
        if "multipleOf" in self._parts:
            self._add(keywords.multiple_of(self._parts["multipleOf"]), *keywords.NUMBERS)

    def _sizes(self) -> None:
        for ending, kind in (
            ("Length", keywords.STRING),
            ("Items", keywords.ARRAY),
            ("Properties", keywords.OBJECT),
        ):
            for word in ("min" + ending, "max" + ending):
                if word in self._parts:
                    self._add(keywords.size_bound(word, self._parts[word]), kind)
        if "required" in self._parts:
            self._add(keywords.required(self._parts["required"]), keywords.OBJECT)
        if "dependentRequired" in self._parts:
            self._add(keywords.dependent_required(self._parts["dependentRequired"]), keywords.OBJECT)
        if "pattern" in self._parts:
            self._add(keywords.pattern(self._parts["pattern"]), keywords.STRING)

    def _same_place(self) -> None:
        """The schemas that apply at the same place."""
        parts = self._parts
        for word in ("$ref", "$dynamicRef", "$recursiveRef"):
            if word in parts:
                self._add(keywords.reference(parts[word]))
                self._evaluated_by(parts[word])
                self._here.append(parts[word])
        if "allOf" in parts:
            self._add(keywords.all_of(parts["allOf"]))
            self._here += parts["allOf"]
            for one in parts["allOf"]:
                self._evaluated_by(one)
        for word in ("anyOf", "oneOf"):
            if word in parts:
                self._add(keywords.any_of(parts[word], word) if word == "anyOf" else keywords.one_of(parts[word]))
                self._here += parts[word]
                for one in parts[word]:
                    self._evaluated_by(one, condition=one)
        if "not" in parts:
            self._add(keywords.not_(parts["not"]))
            self._here.append(parts["not"])
        if "if" in parts:
            condition, then, otherwise = parts["if"], parts.get("then"), parts.get("else")
            self._add(keywords.if_(condition, then, otherwise))
            self._here += [one for one in (condition, then, otherwise) if one is not None]
            self._evaluated_by(condition, condition=condition)
            if then is not None:
                self._evaluated_by(then, condition=condition)
            if otherwise is not None:
                self._evaluated_by(otherwise, condition=condition, holds=False)
        by_name = dict(parts.get("dependentSchemas", {}))
        if "dependencies" in parts:
            names, nodes = parts["dependencies"]
            self._add(keywords.dependent_required(names), keywords.OBJECT)
            by_name |= nodes
        if by_name:
            self._add(keywords.dependent_schemas(by_name), keywords.OBJECT)
            self._here += by_name.values()
            for name, one in by_name.items():
                self._evaluated_where(name, one)

    def _evaluated_by(self, one: Node, *, condition: Node | None = None, holds: bool = True) -> None:
        """The properties and items that another schema at this place evaluates, if a condition holds (or does not)."""

        if not self._unevaluated:
            return

        def applies(value: Any, budget: Any, depth: int) -> bool:
            return condition is None or (check(condition, value, budget, depth + 1) is None) is holds

        self._names.append(
            lambda value, budget, depth: (
                names_of(one.evaluates_names, value, budget, depth) if applies(value, budget, depth) else ()
            )
        )
        self._items.append(
            lambda value, budget, depth: (
                items_of(one.evaluates_items, value, budget, depth) if applies(value, budget, depth) else ()
            )
        )

    def _evaluated_where(self, name: str, one: Node) -> None:
        self._names.append(
            lambda value, budget, depth: names_of(one.evaluates_names, value, budget, depth) if name in value else ()
        )

    def _arrays(self) -> None:
        parts = self._parts
        prefix: list[Node] = parts.get("prefixItems", [])
        items: Node | list[Node] | None = parts.get("items")
        rest: Node | None = None
        if isinstance(items, list):
            prefix, rest = items, parts.get("additionalItems")
        else:
            rest = items
        if prefix or rest is not None:
            self._add(keywords.items(prefix, rest), keywords.ARRAY)
            self._items.append(
                lambda value, budget, depth: range(len(value) if rest is not None else min(len(prefix), len(value)))
            )
        if "contains" in parts:
            inner: Node = parts["contains"]
            self._add(keywords.contains(inner, parts.get("minContains", 1), parts.get("maxContains")), keywords.ARRAY)
            if self._draft >= 2020:
                self._items.append(
                    lambda value, budget, depth: [
                        index for index, one in enumerate(value) if check(inner, one, budget, depth + 1) is None
                    ]
                )
        if parts.get("uniqueItems"):
            self._add(keywords.unique_items, keywords.ARRAY)
        if "unevaluatedItems" in parts:
            own = [*self._items]
            self._add(keywords.unevaluated_items(own, parts["unevaluatedItems"]), keywords.ARRAY)
            self._items.append(lambda value, budget, depth: range(len(value)))

    def _objects(self) -> None:
        parts = self._parts
        named: dict[str, Node] = parts.get("properties", {})
        patterns: list[tuple[Pattern, Node]] = parts.get("patternProperties", [])
        rest: Node | None = parts.get("additionalProperties")
        if named or patterns or rest is not None:
            self._add(keywords.properties(named, patterns, rest), keywords.OBJECT)
            if rest is not None:
                self._names.append(lambda value, budget, depth: value)
            else:
                self._names.append(
                    lambda value, budget, depth: [
                        name
                        for name in value
                        if name in named or any(pattern.is_in(name, budget) for pattern, _ in patterns)
                    ]
                )
        if "propertyNames" in parts:
            self._add(keywords.property_names(parts["propertyNames"]), keywords.OBJECT)
        if "unevaluatedProperties" in parts:
            own = [*self._names]
            self._add(keywords.unevaluated_properties(own, parts["unevaluatedProperties"]), keywords.OBJECT)
            self._names.append(lambda value, budget, depth: value)
