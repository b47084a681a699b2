"""The door takes linear time: ten times the input, ten times the time, whatever the text and the shape.

The whole way of a request is measured: checked, cleaned, estimated, rendered and looked at for routing. CPU time is the
property, so it is what is measured, per byte, as the least of several runs, without Python's garbage collector: that
walks through the whole process whenever enough was made, in any part of it.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable
from typing import Any

import pytest

from errors import HeadraceError, InvalidInputError, TooLongError
from producers.requests import MAX_INPUT_BYTES, as_row, check
from prompts.messages import Message
from prompts.render import placeholders, render
from router.heuristic import has_code_block
from router.tokens import input_token_bound
from tests.support.plain_request import BASE, NOW

SMALL, LARGE = 10_000, 390_000
FLAT = 2.0
FLOOR_S_PER_BYTE = 20e-9  # below it, what a call costs once is all that is seen


def of(unit: str) -> Callable[[int], str]:
    """Texts of so many bytes that repeat a unit."""
    return lambda size: "x" + unit * (size // len(unit.encode("utf-8", "surrogatepass")))


TEXTS = {
    "marks of two classes in turn": of("\u0301\u0323"),
    "marks of falling classes": of("\u0345\u0301\u0327\u0338"),
    "marks that become two": of("\u0344"),
    "letters that become marks": of("\u0f73"),
    "marks in rows that are just kept": of("a" + "\u0301\u0323" * 15),
    "letters that are composed": of("e\u0301"),
    "letters that come apart": of("\U0001d160"),
    "syllables": of("\u1100\u1161\u11a8"),
    "halves of pairs": of("\ud800"),
    "controls": of("\x00"),
    "line breaks": of("\r\n"),
    "one letter": of("a"),
    "blanks": of(" "),
    "fences": of("``` "),
    "braces": of("{{ "),
    "an open brace": lambda size: "{{" + " " * size,
    "headings": of("\n## user "),
    "quotes": of('"\\'),
}
SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "many messages": lambda size: {"messages": [{"role": "user", "content": "a\u0301"}] * (size // 45)},
    "wrong messages": lambda size: {"messages": [{"role": "nobody", "content": 7}] * (size // 45)},
    "wrong variables": lambda size: {"messages": None, "variables": {str(n): n for n in range(size // 20)}},
    "many names": lambda size: {"context": {f"a\u0301{n}": n for n in range(size // 20)}},
    "lists": lambda size: {"context": [[[]]] * (size // 8)},
    "nested": lambda size: {"context": [[[[[[[[7]]]]]]]] * (size // 22)},
    "integers": lambda size: {"context": [2**1000] * (size // 310)},
    "names in metadata": lambda size: {"metadata": {str(n): "\u0301" * 8 for n in range(size // 32)}},
    "properties": lambda size: {
        "output_schema": {"properties": {f"n{n:05}": {"minimum": 1} for n in range(size // 50)}}
    },
}


def door(fields: dict[str, Any]) -> None:
    try:
        as_row(check({**BASE, **fields}, now=NOW))
    except HeadraceError as error:
        assert len(str(error)) < 1_000  # noqa: PT017 (most are let in)


def text_through(text: str) -> None:
    door({"messages": [{"role": "user", "content": text}]})
    door({"context": {text: text[:10]}})
    has_code_block(text)
    render("## user\n{{ it }}", {"it": text})
    with contextlib.suppress(HeadraceError):
        placeholders("## user\n" + text)
    input_token_bound("anthropic", "claude-x", [Message("user", text)])


def assert_flat(work: Callable[[int], Callable[[], None]]) -> None:
    for _ in range(4):
        small, large = (_seconds(work(size)) / size for size in (SMALL, LARGE))
        if large <= FLAT * max(small, FLOOR_S_PER_BYTE):
            return
    raise AssertionError(f"{small * 1e9:.0f} ns a byte at {SMALL}, {large * 1e9:.0f} at {LARGE}")


def _seconds(work: Callable[[], None]) -> float:
    taken = []
    for _ in range(2):
        gc.disable()
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
        gc.enable()
    return min(taken)


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_costs_what_it_is_long(name: str) -> None:
    def work(size: int) -> Callable[[], None]:
        text = TEXTS[name](size)
        return lambda: text_through(text)

    assert_flat(work)


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_costs_what_it_is_large(name: str) -> None:
    def work(size: int) -> Callable[[], None]:
        fields = SHAPES[name](size)
        return lambda: door(fields)

    assert_flat(work)


def again(levels: int) -> Any:
    """A list that holds the one before it a hundred times: small in memory, endless to read."""
    value: Any = ["x"]
    for _ in range(levels):
        value = [value] * 100
    return value


@pytest.mark.parametrize(
    "fields",
    [
        {"context": "\u0301\u0323" * 5_000_000},
        {"user_id": "\u0301\u0323" * 5_000_000},
        {"context": again(20)},
        {"variables": {"a": again(20)}, "messages": None},
        {"messages": again(20)},
        {"messages": [{"role": "user", "content": "x" * 10_000_000}]},
        {"metadata": {"x" * 10_000_000: 1}},
        {"context": [0] * 10_000_000},
    ],
)
def test_what_is_far_over_the_cap_is_refused_before_anything_is_done_with_it(fields: dict[str, Any]) -> None:
    started = time.process_time()
    with pytest.raises(TooLongError) as refused:
        check({**BASE, **fields}, now=NOW)
    assert time.process_time() - started < 1.0
    assert refused.value.field in fields
    assert f"{MAX_INPUT_BYTES} bytes" in refused.value.message


@pytest.mark.parametrize(
    "fields",
    [
        {f"unknown_{n}": n for n in range(100_000)},
        {"messages": [{f"unknown_{n}": n for n in range(100_000)}]},
        {"messages": [{"role": "user"}] * 100_000},
        {"variables": {str(n): n for n in range(100_000)}, "messages": None},
        {"max_output_tokens": 10**5_000},
        {"on_unknown": [[[[]]]] * 1_000},
        {"user_id": b"bytes\x00"},
        {"messages": [{"role": "user", "content": b"\x00"}]},
    ],
)
def test_a_refusal_tells_one_fault_and_is_short(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check({**BASE, **fields}, now=NOW)
    assert len(str(refused.value)) < 500
    assert len(repr(refused.value.as_dict())) < 500
