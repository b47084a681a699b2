"""Output schemas: whether one is a JSON schema that answers can be checked against, and whether an answer matches it.

A tenant writes the schema and in effect the answer, and both are processed in threads that all tenants share. So a
schema has bounds (``guards.schema_reading``), checking an answer has a budget of CPU time (``guards.check_budget``),
and nothing is ever fetched. A schema that was read is kept, because a backfill asks for the same one a million times.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import forks
from errors import InvalidSchemaError, SchemaWaitsError
from guards.check_budget import CheckBudget
from guards.cleaning import DEEPEST
from guards.schema_keywords import Fault, Node, check
from guards.schema_reading import FIELD, MAX_BYTES, read_schema

_KEPT_CHARACTERS: Final = 1_000_000  # of all schemas in a cache, together: up to 50 MB when read
_SMALL: Final = 10_000  # characters; large schemas have a cache of their own, so that few of them displace few
_LONGEST_PLACE: Final = 200
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)


def check_schema(schema: Mapping[str, Any], *, reader: Hashable = None) -> None:
    """Refuse what is not a JSON schema, what is over the bounds, and references that lead out of it or nowhere.

    ``reader``: the tenant. A tenant has one large schema read at a time, so that its others occupy no thread.

    Raises :class:`errors.InvalidSchemaError` naming the place in the schema and the value there, and
    :class:`errors.SchemaWaitsError` when another large schema of that reader is being read.
    """
    _read(schema, reader)


def mismatch(value: Any, schema: Mapping[str, Any], budget: CheckBudget | None = None) -> str | None:
    """Why the value (as ``json.loads`` gives it) does not match the schema, or None when it does.

    Raises :class:`errors.SchemaTooCostlyError` when that cannot be decided within the budget.
    """
    started = time.thread_time()
    node = _read(schema)
    if budget is None:
        budget = CheckBudget()
    else:
        budget.extend(time.thread_time() - started)  # a schema that has to be read again has bounds of its own
    try:
        fault = check(node, value, budget, 0)
    except RecursionError as error:
        raise budget.too_deep() from error
    return None if fault is None else _told(fault)


def _told(fault: Fault) -> str:
    why, place = fault
    parts = []
    while place is not None:
        part, place = place
        parts.append(str(part))
    where = "/".join(parts) or "the whole"
    return f"at {where[:_LONGEST_PLACE]}{'…' * (len(where) > _LONGEST_PLACE)}: {why}"


class _Kept:
    """Schemas that were read and refusals of those that could not be, by their text; the last used ones stay."""

    def __init__(self) -> None:
        self.renew_in_child()
        forks.renew_in_child(self)
        self._by_text: OrderedDict[str, Node | InvalidSchemaError] = OrderedDict()
        self._characters = 0

    def renew_in_child(self) -> None:
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._readers: set[Hashable] = set()

    @contextmanager
    def reading(self, reader: Hashable) -> Iterator[None]:
        """Held while a schema of this cache is read that takes long: one at a time, and one of each reader in line."""
        with self._lock:
            if reader is not None and reader in self._readers:
                raise SchemaWaitsError
            self._readers.add(reader)
        try:
            with self._reading:
                yield
        finally:
            with self._lock:
                self._readers.discard(reader)

    def get(self, text: str) -> Node | InvalidSchemaError | None:
        with self._lock:
            found = self._by_text.get(text)
            if found is not None:
                self._by_text.move_to_end(text)
            return found

    def put(self, text: str, found: Node | InvalidSchemaError) -> None:
        with self._lock:
            if text not in self._by_text:
                self._characters += len(text)
            self._by_text[text] = found
            while self._characters > _KEPT_CHARACTERS:
                oldest, _ = self._by_text.popitem(last=False)
                self._characters -= len(oldest)


_KEPT_SMALL: Final = _Kept()
_KEPT_LARGE: Final = _Kept()


def _read(schema: Mapping[str, Any], reader: Hashable = None) -> Node:
    try:
        text = _ENCODER.encode(schema)
    except RecursionError as error:
        raise InvalidSchemaError(f"is nested deeper than {DEEPEST} levels", field=FIELD) from error
    except ValueError as error:
        raise InvalidSchemaError("holds a number that is too long", field=FIELD) from error
    if len(text) > MAX_BYTES // 4 and len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise InvalidSchemaError(f"is over the cap of {MAX_BYTES} bytes", field=FIELD, value=f"{len(text)} characters")
    kept = _KEPT_SMALL if len(text) <= _SMALL else _KEPT_LARGE
    found = kept.get(text)
    if found is None and kept is _KEPT_LARGE:
        # One at a time. Reading takes up to 0.3 s of the interpreter, and each thread that has it keeps it for 5 ms:
        # with sixteen such threads every step of every other job would wait for 80 ms.
        with kept.reading(reader):
            found = kept.get(text) or _read_and_keep(text, kept)
    elif found is None:
        found = _read_and_keep(text, kept)
    if isinstance(found, InvalidSchemaError):
        raise _anew(found)
    return found


def _read_and_keep(text: str, kept: _Kept) -> Node | InvalidSchemaError:
    found: Node | InvalidSchemaError
    try:
        found = _read_text(text)
    except InvalidSchemaError as error:
        found = _anew(error)
    kept.put(text, found)
    return found


def _anew(error: InvalidSchemaError) -> InvalidSchemaError:
    """The same error, not yet raised: a raised one holds on to the frames that it went through."""
    return InvalidSchemaError(error.message, field=error.field, value=error.value, hint=error.hint)


def _read_text(text: str) -> Node:
    schema = json.loads(text)
    if _depth(schema) > DEEPEST:
        raise InvalidSchemaError(f"is nested deeper than {DEEPEST} levels", field=FIELD)
    return read_schema(schema)


def _depth(value: Any) -> int:
    """Levels of lists and objects inside each other, counted without recursion."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth
