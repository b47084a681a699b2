"""What servers really send with status 200, and what it has to come to: data for both providers.

A case changes a good answer, or replaces it. Its outcome is the text that is read (with the usage and what is said of
it), or the kind of the error (with the usage that is booked, ``None`` where the call counts as unknown, and ``NOTHING``
where it costs nothing).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from errors import (
    ProviderAuthError,
    ProviderEmptyAnswerError,
    ProviderError,
    ProviderMalformedAnswerError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRefusedError,
    ProviderUnavailableError,
)
from router.providers.calls import Usage
from tests.router.providers.conftest import ANSWERS

SAID = "Two metres."
GOOD = Usage(120, 70, 30, 50, 40)
NOTHING = "nothing"
DEEP = "[" * 10_000 + "]" * 10_000
DIGITS = "9" * 5_000

Body = bytes | dict[str, Any]


@dataclass(frozen=True)
class Odd:
    """One odd answer of one provider, and what it comes to."""

    provider: str
    name: str
    body: Body
    text: str | None = None
    error: type[ProviderError] | None = None
    usage: Any = GOOD
    fault: str | None = None
    says: str = ""

    def __str__(self) -> str:
        return f"{self.provider}-{self.name}"


def _good(provider: str, text: str = SAID, **changes: Any) -> dict[str, Any]:
    return ANSWERS[provider](text, **changes)


def _raw(provider: str, change: Callable[[str], str], text: str = SAID) -> bytes:
    return change(json.dumps(_good(provider, text), ensure_ascii=False)).encode("utf-8", "surrogatepass")


def _content(provider: str, *parts: Any) -> dict[str, Any]:
    """An answer that holds these parts and no text of its own."""
    if provider == "openai":
        return _good(provider, output=[{"type": "message", "content": list(parts)}])
    return _good(provider, content=list(parts))


def _usage(provider: str, **changes: Any) -> dict[str, Any]:
    """A good answer whose usage differs: names as in :class:`Usage`."""
    usage = _good(provider)["usage"]
    names = _NAMES[provider]
    for name, value in changes.items():
        *way, last = names[name]
        place = usage
        for step in way:
            place = place[step]
        place[last] = value
    return _good(provider, usage=usage)


_NAMES: dict[str, dict[str, list[str]]] = {
    "openai": {
        "input": ["input_tokens"],
        "cached": ["input_tokens_details", "cached_tokens"],
        "written": ["input_tokens_details", "cache_write_tokens"],
        "output": ["output_tokens"],
        "reasoning": ["output_tokens_details", "reasoning_tokens"],
    },
    "anthropic": {
        "input": ["input_tokens"],
        "cached": ["cache_read_input_tokens"],
        "written": ["cache_creation_input_tokens"],
        "output": ["output_tokens"],
        "reasoning": ["output_tokens_details", "thinking_tokens"],
    },
}


def _readable(p: str) -> list[Odd]:
    """Wrong in something that does not matter: the text is read, and the usage counts."""
    marked = "Two ^ metres."
    within = '"object": "response"' if p == "openai" else '"type": "message"'
    return [
        Odd(p, "byte_order_mark", b"\xef\xbb\xbf" + _raw(p, str), SAID),
        Odd(p, "utf_16", json.dumps(_good(p)).encode("utf-16"), SAID),
        Odd(p, "blank_lines_before", b"\n\n  " + _raw(p, str), SAID),
        Odd(p, "something_after", _raw(p, lambda s: s + "\n<!-- cached -->"), SAID),
        Odd(p, "broken_utf_8", _raw(p, str, marked).replace(b"^", b"\xff\xfe"), "Two \ufffd\ufffd metres."),
        Odd(p, "lone_surrogate", _raw(p, lambda s: s.replace("^", r"\ud83d"), marked), "Two \ufffd metres."),
        Odd(p, "raw_surrogate", _raw(p, lambda s: s.replace("^", "\ud83d"), marked), "Two \ufffd\ufffd\ufffd metres."),
        Odd(p, "escaped_nul", _raw(p, lambda s: s.replace("^", r"\u0000"), marked), "Two  metres."),
        Odd(p, "raw_control_character", _raw(p, lambda s: s.replace("^", "\t\x01"), marked), "Two \t\x01 metres."),
        Odd(p, "raw_line_break", _raw(p, lambda s: s.replace("^", "\n"), marked), "Two \n metres."),
        Odd(p, "long_number_beside", _raw(p, lambda s: s[:-1] + f', "more": {DIGITS}}}'), SAID),
        Odd(p, "nan_beside", _raw(p, lambda s: s[:-1] + ', "more": [NaN, Infinity, 1e999]}'), SAID),
        Odd(p, "deep_beside", _raw(p, lambda s: s[:-1] + f', "more": {DEEP}}}'), SAID),
        Odd(p, "deep_before", _raw(p, lambda s: f'{{"more": {DEEP}, ' + s[1:]), SAID),
        Odd(p, "no_kind", _raw(p, lambda s: s.replace(within, '"kind": "response"', 1)), SAID),
        Odd(p, "id_null", _good(p, id=None), SAID),
        Odd(p, "id_number", _good(p, id=17), SAID),
        Odd(p, "id_of_a_megabyte", _good(p, id="x" * 1_000_000), SAID),
        Odd(p, "model_null", _good(p, model=None), SAID),
        Odd(p, "model_number", _good(p, model=5), SAID),
        Odd(p, "model_of_control_characters", _good(p, model="gpt\x00\x1b[31m\n"), SAID),
        Odd(p, "error_null_and_empty", _good(p, error={}), SAID),
    ]


def _usages(p: str) -> list[Odd]:
    """A usage that cannot be: mended or unknown, and never the call's failure."""
    absurd: dict[str, Any] = {"text": SAID, "usage": None, "fault": "usage_absurd"}
    missing: dict[str, Any] = {"text": SAID, "usage": None, "fault": "usage_missing"}
    mended: dict[str, Any] = {"text": SAID, "fault": "usage_mended"}
    cache_is_inside = p == "openai"
    no_detail: dict[str, Any] = {"usage": Usage(120, 0, 30, 50, 40)} if cache_is_inside else {}
    odd = [
        Odd(p, "usage_null", _good(p, usage=None), **missing),
        Odd(p, "usage_list", _good(p, usage=[1, 2]), **missing),
        Odd(p, "usage_text", _good(p, usage="many"), **missing),
        Odd(p, "usage_empty", _good(p, usage={}), **absurd),
        Odd(p, "usage_absent", {k: v for k, v in _good(p).items() if k != "usage"}, **missing),
        Odd(p, "whole_float", _usage(p, output=50.0), SAID),
        Odd(p, "details_null", _usage(p, reasoning=None), SAID, usage=Usage(120, 70, 30, 50, 0)),
        Odd(p, "broken_float", _usage(p, output=49.5), **mended),
        Odd(p, "reasoning_above_output", _usage(p, reasoning=60), usage=Usage(120, 70, 30, 50, 50), **mended),
        Odd(p, "reasoning_negative", _usage(p, reasoning=-1), usage=Usage(120, 70, 30, 50, 0), **mended),
        Odd(p, "reasoning_text", _usage(p, reasoning="40"), usage=Usage(120, 70, 30, 50, 0), **mended),
        Odd(p, "nought_and_nought", _good(p, usage={"input_tokens": 0, "output_tokens": 0}), **absurd),
        Odd(p, "no_output_beside_a_text", _usage(p, output=0, reasoning=0), **absurd),
        Odd(p, "integer_of_5000_digits", json.dumps(_usage(p, output="^")).replace('"^"', DIGITS).encode(), **absurd),
    ]
    for name, value in {
        "negative": -1,
        "null": None,
        "nan": float("nan"),
        "infinite": float("inf"),
        "three_billion": 3_000_000_000,
        "beyond_any_column": 10**20,
        "true": True,
        "text": "120",
        "object": {"n": 1},
    }.items():
        odd.append(Odd(p, f"input_{name}", _usage(p, input=value), **absurd))
        odd.append(Odd(p, f"output_{name}", _usage(p, output=value), **absurd))
    if cache_is_inside:
        odd += [
            Odd(p, "cached_above_input", _usage(p, cached=500), usage=Usage(120, 120, 0, 50, 40), **mended),
            Odd(p, "cache_above_input_in_all", _usage(p, cached=100), usage=Usage(120, 100, 20, 50, 40), **mended),
            Odd(p, "cached_negative", _usage(p, cached=-5), **(mended | no_detail)),
            Odd(p, "cached_text", _usage(p, cached="70"), **(mended | no_detail)),
            Odd(p, "cached_null", _usage(p, cached=None), SAID, usage=Usage(120, 0, 30, 50, 40)),
            Odd(
                p,
                "details_list",
                _good(p, usage=_good(p)["usage"] | {"input_tokens_details": [], "output_tokens_details": "none"}),
                usage=Usage(120, 0, 0, 50, 0),
                **mended,
            ),
        ]
    else:
        odd += [
            Odd(p, "cached_negative", _usage(p, cached=-5), **absurd),
            Odd(p, "cached_beyond", _usage(p, cached=10**10), **absurd),
            Odd(p, "cached_null", _usage(p, cached=None), SAID, usage=Usage(50, 0, 30, 50, 40)),
        ]
    return odd


def _errors(p: str) -> list[Odd]:
    """Status 200 around an error: that error, and nothing charged."""
    cases: list[tuple[str, Any, type[ProviderError], str]] = [
        ("429", {"code": 429, "message": "slow down"}, ProviderRateLimitedError, "slow down"),
        ("429_text", {"code": "429", "message": "slow down"}, ProviderRateLimitedError, "slow down"),
        ("rate_word", {"type": "rate_limit_error", "message": "slow"}, ProviderRateLimitedError, "slow"),
        ("502", {"code": 502, "message": "Provider returned error"}, ProviderUnavailableError, "Provider returned"),
        ("overloaded", {"type": "overloaded_error", "message": "busy"}, ProviderUnavailableError, "busy"),
        ("401", {"code": 401, "message": "no such key"}, ProviderAuthError, "no such key"),
        ("key", {"type": "authentication_error", "message": "who?"}, ProviderAuthError, "who"),
        ("quota", {"code": "insufficient_quota", "message": "pay"}, ProviderQuotaError, "pay"),
        ("400", {"code": 400, "message": "bad"}, ProviderRefusedError, "bad"),
        ("invalid", {"type": "invalid_request_error", "message": "bad"}, ProviderRefusedError, "bad"),
        ("text", "upstream went away", ProviderUnavailableError, "upstream went away"),
        ("unknown_word", {"type": "upstream_trouble", "message": "later"}, ProviderUnavailableError, "later"),
        ("odd_codes", {"code": [1], "type": {}, "message": 7}, ProviderUnavailableError, "under status 200"),
        ("list", [1, 2], ProviderUnavailableError, "under status 200"),
        ("key_inside", {"code": 400, "message": "sk-platform-0123456789abcdef"}, ProviderRefusedError, "[key]"),
        ("nul", {"code": 400, "message": "a\x00b\ud800c\n" + "d" * 9_000}, ProviderRefusedError, "a b c"),
    ]
    odd = [
        Odd(p, f"error_{name}", {"error": error}, error=kind, usage=NOTHING, says=says)
        for name, error, kind, says in cases
    ]
    wrapped = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}, "request_id": "req_1"}
    odd.append(Odd(p, "error_wrapped", wrapped, error=ProviderUnavailableError, usage=NOTHING, says="busy"))
    nothing_used = {"error": {"code": 500, "message": "no"}, "usage": {"input_tokens": 0, "output_tokens": 0}}
    odd.append(Odd(p, "error_beside_no_usage", nothing_used, error=ProviderUnavailableError, usage=NOTHING))
    used = {"error": {"code": 500, "message": "late"}, "usage": _good(p)["usage"]}
    odd.append(Odd(p, "error_beside_a_usage", used, error=ProviderUnavailableError))
    if p == "openai":
        failed = _good(p, status="failed", output=[], error={"code": "server_error", "message": "late"})
        odd.append(Odd(p, "failed_with_its_usage", failed, error=ProviderUnavailableError, says="late"))
        silent = _good(p, status="failed", output=[], error=None, usage=None)
        odd.append(Odd(p, "failed_without_a_word", silent, error=ProviderUnavailableError, usage=NOTHING))
    return odd


def _empty(p: str) -> list[Odd]:
    """No text: paid, and never a success."""
    text = {"type": "output_text" if p == "openai" else "text"}
    error: dict[str, Any] = {"error": ProviderEmptyAnswerError}
    list_of = "output" if p == "openai" else "content"
    reasoning = {"type": "reasoning", "summary": []} if p == "openai" else {"type": "thinking", "thinking": "hm"}
    tool = (
        {"type": "function_call", "name": "f", "arguments": "{}"}
        if p == "openai"
        else {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    )
    cut = {"status": "incomplete"} if p == "openai" else {"stop_reason": "max_tokens"}
    return [
        Odd(p, "text_null", _content(p, text | {"text": None}), says="it is empty", **error),
        Odd(p, "text_absent", _content(p, text), says="it is empty", **error),
        Odd(p, "text_number", _content(p, text | {"text": 7}), says="it is empty", **error),
        Odd(p, "text_empty", _content(p, text | {"text": ""}), says="it is empty", **error),
        Odd(p, "text_blank", _content(p, text | {"text": " \n"}), says="it is empty", **error),
        Odd(p, "text_null_beside_text", _content(p, text | {"text": None}, text | {"text": SAID}), SAID),
        Odd(p, "odd_parts", _content(p, None, 5, "x", {}, {"type": []}, {"type": None}), says="it is empty", **error),
        Odd(p, "nothing", _good(p, **{list_of: []}), says="it is empty", **error),
        Odd(p, "null", _good(p, **{list_of: None}), says="it is empty", **error),
        Odd(p, "only_reasoning", _good(p, **{list_of: [reasoning]}), says="only reasoning", **error),
        Odd(p, "only_reasoning_cut", _good(p, **{list_of: [reasoning]}, **cut), says="cut at max_output", **error),
        Odd(p, "tool_call", _good(p, **{list_of: [reasoning, tool]}), says="calls a tool", **error),
        Odd(
            p,
            "nothing_and_no_usage",
            _good(p, **{list_of: []}, usage=None),
            says="it is empty",
            usage=None,
            **error,
        ),
    ]


def _unreadable(p: str) -> list[Odd]:
    """Not an answer: its usage counts where it is there, and else nothing is known."""
    error: dict[str, Any] = {"error": ProviderMalformedAnswerError}
    list_of = "output" if p == "openai" else "content"
    other = "anthropic" if p == "openai" else "openai"
    usage_first = json.dumps({"usage": _good(p)["usage"]} | _good(p))
    chat = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": SAID}}]}
    chat_usage = {"prompt_tokens": 120, "completion_tokens": 50, "total_tokens": 170}
    return [
        Odd(p, "list_is_text", _good(p, **{list_of: "text"}), **error),
        Odd(p, "list_is_a_number", _good(p, **{list_of: 5}), **error),
        Odd(p, "list_is_too_deep", json.dumps(_good(p, **{list_of: "^"})).replace('"^"', DEEP).encode(), **error),
        Odd(p, "cut_after_its_usage", usage_first[: usage_first.index("metres")].encode(), **error),
        Odd(p, "cut_before_its_usage", _raw(p, lambda s: s[: s.index("metres")]), usage=None, **error),
        Odd(p, "empty", b"", usage=None, **error),
        Odd(p, "null_itself", b"null", usage=None, **error),
        Odd(p, "list_itself", b"[{}]", usage=None, **error),
        Odd(p, "empty_object", b"{}", usage=None, **error),
        Odd(p, "deep_itself", DEEP.encode(), usage=None, **error),
        Odd(p, "page", b"<!doctype html><h1>Sign in</h1>", usage=None, **error),
        Odd(p, "number_itself", DIGITS.encode(), usage=None, **error),
        Odd(p, "millions_of_parts", b'{"output": [' + b"[]," * 700_000 + b"[]]}", usage=None, **error),
        Odd(p, "chat_completion", chat, usage=None, says="speaks Chat Completions", **error),
        Odd(
            p,
            "chat_completion_with_its_usage",
            chat | {"usage": chat_usage},
            usage=Usage(120, 0, 0, 50, 0) if p == "openai" else None,
            says="speaks Chat Completions",
            error=ProviderMalformedAnswerError,
        ),
        Odd(
            p,
            "the_other_api",
            {k: v for k, v in _good(other).items() if k != "usage"},
            usage=None,
            says=f"speaks {'Messages' if p == 'openai' else 'Responses'}",
            **error,
        ),
    ]


def _only_here(p: str) -> list[Odd]:
    """What only one of the two can send."""
    if p == "anthropic":
        return [
            Odd(p, "stop_reason_null", _good(p, stop_reason=None), SAID),
            Odd(p, "stop_reason_list", _good(p, stop_reason=["end_turn"]), SAID),
        ]
    message = {"type": "output_text", "text": SAID}
    return [
        Odd(p, "refusal_null", _content(p, message | {"refusal": None}), SAID),
        Odd(p, "status_null", _good(p, status=None), SAID),
        Odd(p, "status_unknown", _good(p, status="done"), SAID),
        Odd(p, "incomplete_details_text", _good(p, status="incomplete", incomplete_details="max"), SAID),
        Odd(p, "queued", _good(p, status="queued", output=[]), error=ProviderMalformedAnswerError),
    ]


ODD_ANSWERS = [
    odd
    for provider in ("openai", "anthropic")
    for kind in (_readable, _usages, _errors, _empty, _unreadable, _only_here)
    for odd in kind(provider)
]
