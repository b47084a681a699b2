"""Lines of JSON from a file of any size and any content: never more than one line in memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, BinaryIO, NoReturn

from console.enqueue_file.formats import check_format
from errors import InvalidInputError, TooLongError

LONGEST_LINE = 8_000_000
"""Bytes; a request's own caps are far below it."""

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileLine:
    """One line that is not blank: its number in the file (1 is the first), and its fields or its error."""

    number: int
    size: int  # bytes
    fields: dict[str, Any] | None
    error: InvalidInputError | None = None


def read_lines(stream: BinaryIO) -> Iterator[FileLine]:
    """The lines of a stream that are not blank.

    :raises InvalidInputError: the stream is not UTF-8 (``line`` in its details says where), or it is not lines of JSON.
    """
    raw_lines = _raw_lines(stream)
    head = list(islice(raw_lines, 2))
    check_head([one.text for one in head])
    for one in chain(head, raw_lines):
        if one.size > LONGEST_LINE + 1:
            too_long = TooLongError(f"a line of {one.size} bytes is over the cap of {LONGEST_LINE} bytes")
            yield FileLine(one.number, one.size, None, too_long)
            continue
        text = _decoded(one.text, one.number)
        if text.strip():
            yield _read(text, one.number, one.size)


def check_head(first_lines: Sequence[bytes]) -> None:
    """Check up to two lines. Raises :class:`errors.InvalidInputError` if they are of another format."""
    if first_lines:
        check_format(first_lines[0], first_lines[1] if len(first_lines) > 1 else None)


def check_file(stream: BinaryIO) -> None:
    """Read a file through, from its current position, and leave it there.

    :raises InvalidInputError: it is not lines of JSON, or not UTF-8; ``line`` in its details says where.
    """
    start = stream.tell()
    check_head([one.text for one in islice(_raw_lines(stream), 2)])
    stream.seek(start)
    check_utf8(stream)


def check_utf8(stream: BinaryIO) -> None:
    """Read a file through, from its current position, and leave it there.

    :raises InvalidInputError: it is not UTF-8; ``line`` in its details says where.
    """
    start = stream.tell()
    decoder = codecs.getincrementaldecoder("utf-8")()
    number = 1
    while block := stream.read(_BLOCK):
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            _not_utf8(number + error.object[: error.start].count(b"\n"), error)
        number += block.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        _not_utf8(number, error)
    stream.seek(start)


@dataclass(frozen=True, slots=True)
class _Raw:
    """One line as bytes, up to the longest that is read; ``size`` is that of the whole line."""

    number: int
    size: int
    text: bytes


def _raw_lines(stream: BinaryIO) -> Iterator[_Raw]:
    """The lines that hold more than ASCII blanks."""
    number = 0
    while raw := stream.readline(LONGEST_LINE + 1):
        number += 1
        size, is_whole = len(raw), raw.endswith(b"\n") or len(raw) <= LONGEST_LINE
        while not is_whole:  # too long: skip the rest of it
            rest = stream.readline(LONGEST_LINE)
            size, is_whole = size + len(rest), not rest or rest.endswith(b"\n")
        if not raw.isspace():
            yield _Raw(number, size, raw)


def _decoded(raw: bytes, number: int) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        _not_utf8(number, error)


def _not_utf8(number: int, error: UnicodeDecodeError) -> NoReturn:
    raise InvalidInputError(
        f"line {number} is not UTF-8", field="file", hint="Convert the file first, for example with iconv.", line=number
    ) from error


def _read(text: str, number: int, size: int) -> FileLine:
    try:
        value = json.loads(text.rstrip("\r\n"), parse_constant=_no_number, parse_float=_finite)
    except json.JSONDecodeError as error:
        return FileLine(number, size, None, InvalidInputError(f"is not JSON: {error.msg} at column {error.colno}"))
    except (ValueError, RecursionError) as error:
        return FileLine(number, size, None, InvalidInputError(f"cannot be read as JSON: {error}"))
    if not isinstance(value, dict):
        return FileLine(number, size, None, InvalidInputError("is not a JSON object with the fields of a job"))
    return FileLine(number, size, value)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is out of range")
    return number
