"""The JSON object of an answer, read as far as possible, however broken the rest of it may be."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from pydantic_core import from_json

#: An answer above this size is scanned before it is read: millions of small parts need 30 times their bytes.
_LARGE: Final = 1024 * 1024
_MOST_PARTS: Final = 200_000
#: Longest integer that is read as one, digits; a longer one is infinite.
_LONGEST_INTEGER: Final = 30

#: Stands in place of a member that is there but cannot be read.
UNREADABLE: Final = object()

# Strings (also one without its end), brackets, and separators of members. Possessive, so that it never backtracks.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\],:]', re.DOTALL)


class BrokenObjectError(ValueError):
    """It is not an object, or not a whole one; ``usage_said`` is the member ``usage`` if that could be read."""

    def __init__(self, why: str, usage_said: Any = None) -> None:
        super().__init__(why)
        self.usage_said = usage_said


def read_object(content: bytes) -> dict[str, Any]:
    """The object in ``content``.

    Content that JSON forbids and servers send all the same is read: a byte-order mark, broken UTF-8, raw control
    characters, lone surrogates, numbers of any length, words after its end. A member that cannot be read even so (it is
    nested too deep) is :data:`UNREADABLE`; the others are there.

    :raises BrokenObjectError: it is not an object, it ends too early, or it has too many parts.
    """
    if len(content) > _LARGE and content.count(b"{") + content.count(b"[") > _MOST_PARTS:
        raise BrokenObjectError("it has too many parts")
    value: Any
    try:
        value = from_json(content)
    except ValueError:
        value = _leniently(content)
    if not isinstance(value, dict):
        raise BrokenObjectError("it is not an object")
    return value


def _leniently(content: bytes) -> Any:
    text = content.decode(json.detect_encoding(content), "replace")
    try:
        return _loads(text)
    except (ValueError, RecursionError):
        return _members(text)


def _loads(text: str) -> Any:
    return json.loads(text, strict=False, parse_int=_integer)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


def _members(text: str) -> dict[str, Any]:
    """The members of the outermost object that can be read, each by itself. There is no recursion here."""
    if not text.lstrip().startswith("{"):
        raise BrokenObjectError("it is not an object")
    members: dict[str, Any] = {}
    depth, key, begins = 0, None, 0  # how deep we are; a member's name; where its value begins
    for number, token in enumerate(_TOKEN.finditer(text)):
        mark = text[token.start()]
        if number > _MOST_PARTS:
            raise BrokenObjectError("it has too many parts", members.get("usage"))
        if depth == 1 and key is not None and begins and mark in ",}":
            _read_into(members, key, text[begins : token.start()])
            key, begins = None, 0
        elif depth == 1 and mark == '"' and not begins:
            key = token[0]
        elif depth == 1 and mark == ":" and key is not None and not begins:
            begins = token.end()
        depth += (mark in "{[") - (mark in "}]")
        if depth == 0:
            break
    if depth:
        raise BrokenObjectError("it ends too early", members.get("usage"))
    return members


def _read_into(members: dict[str, Any], key: str, value: str) -> None:
    try:
        members[_loads(key)] = _loads(value)
    except (ValueError, RecursionError):
        members[key.strip('"')] = UNREADABLE
