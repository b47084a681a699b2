"""The simulator serves all tenants of a test or a demo: no request of one holds it up."""

from __future__ import annotations

import time
from typing import Any

import pytest

from simulator.answers.answers import answer
from simulator.answers.schema_check import schema_fault
from simulator.protocol.asked import SimulatedRequest
from tests.support.costly_schemas import doubled

BOUND_S = 5.0  # ten times the budget; each of these took minutes, or for ever


def asked(schema: dict[str, Any] | None, *, system: str = "", question: str = "What is this?") -> SimulatedRequest:
    return SimulatedRequest(
        model="m", system=system, turns=(("user", question),), texts=(), messages=1, breakpoints=(),
        max_output_tokens=None, schema=schema, tool=None, json_mode=False, stop=(), stream=False, raw={},
    )  # fmt: skip


def tree(levels: int) -> dict[str, Any]:
    """Two of everything, so many levels deep."""
    inner: dict[str, Any] = {"type": "string"}
    parts = {f"d{n}": {"type": "object", "required": ["a", "b"],
                       "properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}, "b": {"$ref": f"#/$defs/d{n + 1}"}}}
             for n in range(levels)}  # fmt: skip
    return {"$ref": "#/$defs/d0", "$defs": parts | {f"d{levels}": inner}}


@pytest.mark.parametrize(
    "schema",
    [
        tree(30),
        {"type": "array", "minItems": 10**9},
        {"type": "array", "minItems": 10_000, "uniqueItems": True, "items": {"enum": list(range(1_000))}},
        {"type": "object", "minProperties": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "string", "pattern": "^(a+)+$", "minLength": 40},
        {"type": "string", "pattern": "((^*)*)*(a*b*)*c"},
        {"type": "string", "pattern": "(" * 400 + "a" + ")" * 400},
        {"type": "number", "minimum": 10**400},
        {"enum": [f"value {n}" for n in range(20_000)]},
        {"allOf": [{"properties": {f"p{n}": {}}} for n in range(4_000)]},
    ],
)
def test_an_answer_by_schema_has_a_price(schema: dict[str, Any]) -> None:
    assert schema_fault(schema) is None
    started = time.thread_time()
    text = answer(asked(schema))
    assert time.thread_time() - started < BOUND_S
    assert len(text) < 2_000_000


def test_a_schema_that_the_guards_refuse_is_a_fault() -> None:
    for schema in (doubled("allOf"), {"$ref": "#"}, {"$schema": "http://json-schema.org/draft-04/schema#"}):
        assert schema_fault(schema) is not None


@pytest.mark.parametrize(
    "system", ["json schema " * 30_000, "json schema " + '{"a":' * 100_000, 'JSON schema {"$ref": "#"}']
)
def test_a_schema_in_words_is_found_in_linear_time_and_checked(system: str) -> None:
    started = time.thread_time()
    assert answer(asked(None, system=system))
    assert time.thread_time() - started < BOUND_S
