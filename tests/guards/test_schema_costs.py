"""A schema and an answer that were made to cost: reading one is linear, checking the other ends within its budget.

CPU time is the property, so it is what is measured: of this thread, against ten times what is promised. Each of these
took seconds, hours or for ever.
"""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from errors import InvalidSchemaError, SchemaTooCostlyError, SchemaWaitsError
from guards import schemas
from guards.check_budget import LINE, CheckBudget
from guards.schema_reading import read_schema
from guards.schemas import check_schema, mismatch
from tests.support.costly_schemas import CATASTROPHIC, doubled

PROMISED_S = 0.1
MARGIN = 10


@contextmanager
def bounded(times: int = MARGIN) -> Iterator[None]:
    started = time.thread_time()
    yield
    assert time.thread_time() - started < times * PROMISED_S


def outcome(value: Any, schema: dict[str, Any]) -> str | None:
    """How a check came out, within its time. The value is one that an answer was read into.

    The garbage collector is left out: a whole pass over the objects of all the tests is no part of the check.
    """
    check_schema(schema)
    value = json.loads(json.dumps(value))
    gc.disable()
    try:
        with bounded():
            try:
                return mismatch(value, schema)
            except SchemaTooCostlyError as error:
                return error.code
    finally:
        gc.enable()


@pytest.mark.parametrize("pattern", CATASTROPHIC)
def test_a_pattern_takes_linear_time(pattern: str) -> None:
    text = "a" * 60 + "!"
    outcome(text, {"pattern": pattern})
    outcome({text: 1}, {"patternProperties": {pattern: {"type": "string"}}})
    outcome({text: 1}, {"patternProperties": {pattern: {}}, "unevaluatedProperties": False})
    outcome(text * 5000, {"pattern": pattern})


def test_a_pattern_is_not_held_against_a_text_that_is_too_long_for_it() -> None:
    hard = {"items": {"pattern": "[ab]*a[ab]{300}c"}}  # beyond RE2's automata: each letter costs 300 steps
    assert outcome(["ab" * 200_000], hard) == "schema_too_costly"
    assert outcome(["ab" * 10_000] * 100, hard) is not None


@pytest.mark.parametrize("word", ["allOf", "anyOf", "oneOf"])
def test_doubled_references_are_counted_along_their_paths(word: str) -> None:
    with bounded(), pytest.raises(InvalidSchemaError, match="more than 10000 schemas at one place"):
        check_schema(doubled(word))
    assert (outcome("x", doubled(word, 8)) is None) is (word != "oneOf")


def test_references_that_double_through_conditions_or_lead_far_are_counted_too() -> None:
    def each(n: int) -> dict[str, Any]:
        return {word: {"$ref": f"#/$defs/d{n + 1}"} for word in ("if", "then", "else")}

    schema = {"$ref": "#/$defs/d0", "$defs": {f"d{n}": each(n) for n in range(30)} | {"d30": {}}}
    with bounded(), pytest.raises(InvalidSchemaError, match="at one place"):
        check_schema(schema)
    chain: dict[str, Any] = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(5000)}
    with bounded(), pytest.raises(InvalidSchemaError, match="more than 100 levels"):
        check_schema({"$ref": "#/$defs/d0", "$defs": chain | {"d5000": {}}})


def test_references_that_double_inside_the_answer_are_checked_once_a_place() -> None:
    either = [{"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}, "k": {"const": n}}} for n in range(30)]
    answer: dict[str, Any] = {"k": 99}
    for _ in range(60):
        answer = {"a": answer, "k": 99}
    assert "is not the value of const" in str(outcome(answer, {"anyOf": either}))


@pytest.mark.parametrize(
    "items",
    [
        [{"a": n, "b": str(n)} for n in range(20_000)],
        [{"a": n, "b": [n, {"c": n}]} for n in range(20_000)],
        [n * (2**61 - 1) for n in range(20_000)],  # integers of one hash
        [n * 2**40 for n in range(20_000)],
        [[[[[n]]]] for n in range(20_000)],
    ],
)
def test_unique_items_are_linear(items: list[Any]) -> None:
    assert outcome(items, {"uniqueItems": True}) in (None, "schema_too_costly")
    assert "equals an item" in str(outcome(items[:1000] + items[:1], {"uniqueItems": True}))


def test_an_enum_is_one_look_up() -> None:
    values = list(range(50_000))
    assert outcome(49_999, {"enum": values}) is None
    assert outcome(-1, {"enum": values}) == "at the whole: is not one of the 50000 values of enum"
    assert outcome([*range(20_000)], {"items": {"enum": values}}) is None
    with bounded():
        check_schema({"enum": [n * (2**61 - 1) for n in range(16_000)]})


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"items": {"allOf": [{"type": "string"}] * 9_000}}, ["a"] * 100_000),
        ({"patternProperties": {f"[ab]*a[ab]{{50}}{n}": {} for n in range(200)}},
         {"ab" * 30 + str(n): 1 for n in range(9_000)}),
        ({"items": {"dependentRequired": {f"n{i}": [f"n{j}" for j in range(200)] for i in range(200)}}},
         [{f"n{i}": 1 for i in range(200)}] * 1_000),
        ({"contains": {"contains": {"contains": {"const": 5}}}}, [[[1] * 100] * 100] * 200),
        ({"items": {"multipleOf": 1e-300}}, [1e300] * 100_000),
        ({"anyOf": [{"enum": [{"a": n}, 0]} for n in range(4_000)]}, [[{"a": n}] for n in range(20_000)]),
        ({"allOf": [{"anyOf": [{"properties": {f"p{n}": {}}}]} for n in range(2_000)], "unevaluatedProperties": False},
         {f"p{n}": n for n in range(2_000)}),
    ],
)  # fmt: skip
def test_whatever_it_is_the_check_ends(schema: dict[str, Any], answer: Any) -> None:
    assert outcome(answer, schema) == "schema_too_costly"


def test_a_large_schema_is_read_once_and_over_the_limits_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    monkeypatch.setattr(schemas, "read_schema", lambda schema: read.append(schema) or read_schema(schema))
    properties = {f"property{n:05}": {"type": "string"} for n in range(8_000)}
    schema = {"type": "object", "properties": properties, "required": [*properties][:3_000]}
    with bounded(5):
        check_schema(schema)
    for _ in range(3):
        check_schema(schema)
    assert outcome(dict.fromkeys(properties, "x"), schema) is None
    assert len(read) == 1
    for schema, why in (
        ({"allOf": [{}] * 130_000}, "400000 bytes"),
        ({"allOf": [{} for _ in range(11_000)]}, "10000 subschemas"),
        ({"patternProperties": {f"a{n}": {} for n in range(300)}}, "200 patterns"),
        ({"prefixItems": [{"pattern": f"^.{{1,{n}}}$"} for n in range(990, 999)]}, "50000 instructions"),
        ({"pattern": "a" * 1_001}, "1000"),
    ):
        with bounded(), pytest.raises(InvalidSchemaError, match=why):
            check_schema(schema)


@pytest.mark.parametrize("levels", [65, 500, 100_000])
def test_a_deep_schema_is_refused(levels: int) -> None:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    with bounded(), pytest.raises(InvalidSchemaError, match="deeper than 64 levels"):
        check_schema(schema)


def test_what_openai_takes_fits_in_with_room() -> None:
    names = [f"a_property_of_a_real_name_{n:05}" for n in range(5_000)]
    parts = {name: {"type": ["string", "null"]} for name in names}
    check_schema({"type": "object", "properties": parts, "required": names[:1_000], "additionalProperties": False})


def test_an_answer_of_a_size_that_models_write_is_checked_in_time() -> None:
    address = {
        "type": "object",
        "properties": {"street": {"type": "string"}, "zip": {"type": "string", "pattern": r"^\d{5}$"}},
        "required": ["street", "zip"],
        "additionalProperties": False,
    }
    person = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 200}, "kind": {"enum": ["a", "b"]},
                       "address": {"anyOf": [{"$ref": "#/$defs/address"}, {"type": "null"}]}},
        "required": ["name", "kind", "address"],
    }  # fmt: skip
    schema = {"type": "array", "items": person, "$defs": {"address": address}}
    someone = {"name": "A", "kind": "a", "address": {"street": "B", "zip": "12345"}}
    assert outcome([someone] * 2_000, schema) is None


def test_large_schemas_are_read_one_at_a_time_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that read schemas have the interpreter by turns, and every other job waits for all of them."""
    read_text, at_it = schemas._read_text, threading.Semaphore(1)
    seen: list[bool] = []
    texts: list[str] = []

    def watched(text: str) -> Any:
        alone = at_it.acquire(blocking=False)
        seen.append(alone)
        texts.append(text)
        try:
            return read_text(text)
        finally:
            if alone:
                at_it.release()

    monkeypatch.setattr(schemas, "_read_text", watched)
    large = [{"$comment": f"{n} {uuid4()}", "anyOf": [{"enum": [m]} for m in range(2_000)]} for n in range(4)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(schemas.check_schema, large * 2))
    assert seen == [True] * 4
    assert len(set(texts)) == 4


def test_long_checks_go_on_one_at_a_time_and_short_ones_always() -> None:
    def checked(items: int) -> str | None:
        with CheckBudget(5.0) as budget:
            return mismatch([{"n": n} for n in range(items)], {"uniqueItems": True}, budget)

    with ThreadPoolExecutor(1) as thread:
        with LINE.lock:
            assert thread.submit(checked, 10).result(timeout=30) is None
            long = thread.submit(checked, 60_000)
            with pytest.raises(TimeoutError):
                long.result(timeout=0.5)
        assert long.result(timeout=30) is None
    assert LINE.lock.acquire(blocking=False), "a check that is over has left"
    LINE.lock.release()


def test_a_long_check_that_fails_leaves_the_line() -> None:
    with pytest.raises(SchemaTooCostlyError), CheckBudget(0.02) as budget:
        mismatch([{"n": n} for n in range(200_000)], {"uniqueItems": True}, budget)
    assert not LINE.lock.locked()


def test_a_child_does_not_wait_for_a_schema_that_its_parent_was_reading() -> None:
    kept = schemas._KEPT_LARGE
    with kept.reading("a"):
        kept.renew_in_child()
        with kept.reading("a"):
            pass


def test_a_tenant_has_one_large_schema_read_at_a_time_and_small_ones_always() -> None:
    def large() -> dict[str, Any]:
        return {"$comment": str(uuid4()), "anyOf": [{"enum": [m]} for m in range(2_000)]}

    known = large()
    schemas.check_schema(known, reader="a")
    with ThreadPoolExecutor(1) as thread:
        with schemas._KEPT_LARGE.reading("a"):
            with pytest.raises(SchemaWaitsError):
                schemas.check_schema(large(), reader="a")
            schemas.check_schema(known, reader="a")  # it was read before
            schemas.check_schema({"type": "string"}, reader="a")
            of_another = thread.submit(schemas.check_schema, large(), reader="b")
            with pytest.raises(TimeoutError):
                of_another.result(timeout=0.05)  # it stands in line, behind one
        of_another.result(timeout=30)
    schemas.check_schema(large(), reader="a")
