"""A body that is not an answer, described in one line: an error's reason, or what came instead.

Every server writes errors differently: OpenAI ``{"error": {"message"}}``, Ollama ``{"error": "…"}``, FastAPI
``{"detail": [{"loc", "msg"}]}``, problem details ``{"title", "detail"}``, gateways and firewalls a page for people. All
of it is chosen by the server, so the work is linear in a bounded part of it, and keys are hidden before it is cut.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any, Final, TypedDict

import httpx2

from router.http.secrecy import hide
from router.providers.text import one_line

#: The part of a body that is looked at, bytes.
_LOOKED_AT: Final = 64 * 1024
#: Longest reason before it is cut for a message, characters.
_REASON_LENGTH: Final = 4_000
_QUOTED: Final = 120
_NAMES: Final = 8
_NAME_LENGTH: Final = 40
_DEEPEST: Final = 4
_FIRST: Final = 3

# The places of a reason in an object, the most usual first.
_PLACES: Final = ("message", "detail", "error_description", "error", "errors", "reason", "msg", "description", "title")
# Linear, whatever the page: no tag holds another "<", and a name once read is not read again in other lengths.
_TAG: Final = re.compile(r"<(/?[A-Za-z][A-Za-z0-9]*+|!)[^<>]*+>")
#: A character reference beyond all characters: some thousand digits are more than `int` reads.
_NO_CHARACTER: Final = re.compile(r"&#[0-9]{8,}+;?")
_NOT_FOR_PEOPLE: Final = frozenset({"script", "style", "svg"})
_JSON_KINDS: Final = {"[": "a list", '"': "a text", "null": "null", "true": "true", "false": "false"}
_WITHIN_A_LINE: Final = frozenset({"a", "b", "code", "em", "font", "i", "small", "span", "strong", "tt", "u", "wbr"})
_BLANKS: Final = re.compile(r"\s+")


class Packaging(TypedDict):
    """The form of a body: its media type, and its compression if that was not undone."""

    media_type: str
    packed_with: str


def packaging(response: httpx2.Response) -> Packaging:
    """What its head says about the body of a response that was read to its end."""
    return {
        "media_type": response.headers.get("content-type", ""),
        "packed_with": str(response.extensions.get("packed_with", "")),
    }


def reason_in(body: bytes, *, media_type: str, packed_with: str, key: str) -> str:
    """Why a server refused a request, in its own words as far as they can be found. In one line, without the key."""
    if not body.strip():
        return f"a body packed with {packed_with}" if packed_with else "without a word"
    text = _text(body, key)
    if not _is_readable(text):
        return f"a body packed with {packed_with}" if packed_with else "a body that is not text"
    if _is_page(text, media_type):
        return f"a web page: {_page(text, key)}"
    try:
        told: Any = json.loads(text)
    except (ValueError, RecursionError):
        told = text
    return hide(reason_of(told) or one_line(text, _REASON_LENGTH), key)


def reason_of(told: Any, depth: int = _DEEPEST) -> str:
    """The reason in a value that was read from JSON; ``""`` if none can be found."""
    if isinstance(told, str):
        return one_line(told, _REASON_LENGTH)
    if depth == 0:
        return ""
    if isinstance(told, Mapping):
        return _reason_of_object(told, depth - 1)
    if isinstance(told, list):
        found = [reason_of(one, depth - 1) for one in told[:_FIRST]]
        return "; ".join(dict.fromkeys(filter(None, found)))
    return ""


def what_came(
    body: bytes, *, media_type: str, packed_with: str, key: str, read: Mapping[str, Any] | None, broken: str = ""
) -> str:
    """Description of a body that came in place of an answer.

    ``read``: the object in the body if there is one; ``broken``: why it could not be read.
    """
    said = _what_came(body, media_type, key, broken) if read is None else _object(read, key)
    return f"{said}, said to be packed with {packed_with}" if packed_with else said


def _what_came(body: bytes, media_type: str, key: str, broken: str) -> str:
    if not body.strip():
        return "an empty body came"
    text = _text(body, key)
    start = text[:_QUOTED].lstrip("\ufeff \t\r\n")
    if _is_page(text, media_type):
        return f"a web page came: {one_line(_page(text, key), _QUOTED)}"
    if media_type == "text/event-stream" or start.startswith(("data:", "event:")):
        return "a stream of events came, which was not asked for"
    if start.startswith("<"):
        return "XML came"
    kind = next((kind for begins, kind in _JSON_KINDS.items() if start.startswith(begins)), None)
    if kind is not None or start[:1].isdigit():
        return f"JSON came, but {kind or 'a number'} and not an object"
    if start.startswith("{"):
        return f"JSON came that cannot be read: {broken}"
    if not _is_readable(text):
        return "something that is neither JSON nor text came"
    return f"plain text came: {one_line(text, _QUOTED)}"


def _object(members: Mapping[str, Any], key: str) -> str:
    first = [one_line(hide(name[:_REASON_LENGTH], key), _NAME_LENGTH) for name in list(members)[:_NAMES]]
    names = ", ".join(first) + ", …" * (len(members) > _NAMES)
    for name in ("output", "content"):
        if members.get(name) is not None:
            return f"an object came whose {name} is not a list that can be read"
    return f"an object came without an answer or a usage, with {names or 'nothing in it'}"


def _reason_of_object(told: Mapping[Any, Any], depth: int) -> str:
    if isinstance(told.get("loc"), list) and isinstance(told.get("msg"), str):
        # FastAPI's; its `input` would quote the prompt
        place = ".".join(one_line(part, _NAME_LENGTH) for part in told["loc"][:6] if isinstance(part, str))
        return f"{place}: {one_line(told['msg'], _REASON_LENGTH)}"
    title, detail = told.get("title"), told.get("detail")
    if isinstance(title, str) and isinstance(detail, str):
        return f"{one_line(title, _QUOTED)}: {one_line(detail, _REASON_LENGTH)}"
    found = next(filter(None, (reason_of(told.get(place), depth) for place in _PLACES)), "")
    # OpenRouter and similar gateways wrap the error of the provider behind them
    metadata = told.get("metadata")
    inside = reason_of(metadata.get("raw"), depth) if isinstance(metadata, Mapping) else ""
    return f"{found}: {inside}" if found and inside else found or inside


def _text(body: bytes, key: str) -> str:
    return hide(body[:_LOOKED_AT].decode("utf-8", "replace"), key)


def _is_readable(text: str) -> bool:
    """Whether nearly all of its beginning is text."""
    head = text[:_QUOTED]
    return 10 * sum((one.isprintable() and one != "\ufffd") or one.isspace() for one in head) >= 8 * len(head)


def _is_page(text: str, media_type: str) -> bool:
    start = text[:200].lstrip("\ufeff \t\r\n").lower()
    return media_type in {"text/html", "application/xhtml+xml"} or start.startswith(("<!doctype html", "<html"))


def _page(text: str, key: str) -> str:
    """The words of a page for people; its title comes first."""
    words: list[str] = []
    hidden, began = "", 0
    for tag in _TAG.finditer(text):
        name = tag[1].lower()
        if not hidden:
            words += [text[began : tag.start()], "" if name.lstrip("/") in _WITHIN_A_LINE else "\n"]
            hidden = name if name in _NOT_FOR_PEOPLE else ""
        elif name == f"/{hidden}":
            hidden = ""
        began = tag.end()
    words.append("" if hidden else text[began:])
    text = _NO_CHARACTER.sub("", "".join(words))
    lines = (_BLANKS.sub(" ", line).strip() for line in html.unescape(text).split("\n"))
    told = " ".join(dict.fromkeys(filter(None, lines)))
    return one_line(hide(told, key), _REASON_LENGTH) or "without words"
