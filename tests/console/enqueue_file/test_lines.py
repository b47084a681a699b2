"""Reading lines: whatever they hold, one bad line is one bad line."""

from __future__ import annotations

import io
import json

import pytest

from console.enqueue_file import lines
from console.enqueue_file.lines import check_utf8, read_lines
from errors import InvalidInputError


def test_blank_lines_and_a_byte_order_mark_are_passed_over_and_numbers_stay_those_of_the_file() -> None:
    text = b'\xef\xbb\xbf{"a": 1}\r\n\n   \n{"b": 2}'

    assert [(line.number, line.fields) for line in read_lines(io.BytesIO(text))] == [(1, {"a": 1}), (4, {"b": 2})]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON: Expecting property name"),
        ("{} {}", "is not JSON: Extra data at column 4"),
        ('{"a": "b", "c": 1', "is not JSON: Expecting ',' delimiter at column 18"),
        ("[1]", "is not a JSON object"),
        ("null", "is not a JSON object"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": -Infinity}', "-Infinity is not a number"),
        ('{"a": 1e999}', "1e999 is out of range"),
        ('{"a": ' + "9" * 5000 + "}", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_a_line_that_is_no_job_is_told_of_and_the_next_is_read(text: str, reason: str) -> None:
    bad, good = read_lines(io.BytesIO(f'{text}\n{{"a": 1}}\n'.encode()))

    assert bad.fields is None
    assert bad.error is not None
    assert reason in bad.error.message
    assert (good.number, good.fields, good.error) == (2, {"a": 1}, None)


def test_a_line_of_any_length_is_read_over_without_keeping_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 20)
    exact = json.dumps({"a": "x" * 10}).encode().ljust(20)
    stream = io.BytesIO(exact + b"\n" + b"y" * 21 + b"\n" + b"z" * 1000 + b"\n" + exact)

    found = list(read_lines(stream))

    assert [(line.number, line.error and line.error.code) for line in found] == [
        (1, None), (2, "too_long"), (3, "too_long"), (4, None),
    ]  # fmt: skip
    assert sum(line.size for line in found) == len(stream.getvalue())


@pytest.mark.parametrize("bad", [b"caf\xe9", b"\xff\xfe{\x00}\x00", b"\xc3"])
@pytest.mark.parametrize("before", [0, 3])
def test_what_is_not_utf8_is_found_with_its_line_before_anything_is_used(bad: bytes, before: int) -> None:
    stream = io.BytesIO(b"{}\n" * before + bad)

    with pytest.raises(InvalidInputError) as refused:
        check_utf8(stream)

    assert refused.value.details == {"line": before + 1}
    # a file that begins with the mark of UTF-16 is told by that name
    told = "is UTF-16, not UTF-8" if bad.startswith(b"\xff\xfe") and before == 0 else f"line {before + 1} is not UTF-8"
    with pytest.raises(InvalidInputError, match=told):
        list(read_lines(io.BytesIO(stream.getvalue())))


def test_a_letter_across_two_blocks_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_BLOCK", 3)
    stream = io.BytesIO("aa€bb\n€\n".encode())

    check_utf8(stream)

    assert stream.tell() == 0
    monkeypatch.setattr(lines, "_BLOCK", 4)
    with pytest.raises(InvalidInputError, match="line 3 "):
        check_utf8(io.BytesIO("aa€bb\n€\n€".encode()[:-1]))
