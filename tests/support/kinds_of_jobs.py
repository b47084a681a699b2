"""A job of each kind that a dry run tells apart."""

from __future__ import annotations

from typing import Any

from tests.support.requests import CHAT, MESSAGES, PROMPT

TICKET = {"ticket": "I was charged twice in March.", "customer": "Ada", "product": "Desk"}
SCHEMA = {
    "type": "object",
    "required": ["zeta", "a"],
    "properties": {"zeta": {"type": "string"}, "a": {"type": "number", "description": "größer als 1e3"}},
}
CONTEXT = {"zeta": [1.50, 1e3, {"b": None, "a": "é"}], "a": "text\nwith lines"}
KINDS: dict[str, dict[str, Any]] = {
    "messages": CHAT,
    "a prompt": PROMPT,
    "a prompt with a schema": {
        "user_id": "u-1", "feature": "support_reply", "prompt": "support_reply", "variables": TICKET,
    },
    "a schema of its own": {**CHAT, "output_schema": SCHEMA},
    "a schema in the prompt's stead": {**PROMPT, "output_schema": SCHEMA, "max_output_tokens": 77},
    "context": {**CHAT, "context": CONTEXT},
    "context beside a prompt": {**PROMPT, "context": "a fact", "metadata": {"a": 1}},
    "forced to strong": {**CHAT, "force_tier": "strong"},
    "a hard feature": {**CHAT, "feature": "legal_summary"},
    "a hard feature, forced to cheap": {**CHAT, "feature": "legal_summary", "force_tier": "cheap"},
    "code": {**CHAT, "messages": [{"role": "user", "content": "Why?\n```\nx = 1\n```"}]},
    "long": {**CHAT, "messages": [{"role": "user", "content": "word " * 22_000}]},
    "a report": {**CHAT, "feature": "report", "max_output_tokens": 16},
    "text to be cleaned": {**CHAT, "messages": [*MESSAGES, {"role": "user", "content": "A\u0308 \u0007 e\u0301"}]},
}  # fmt: skip
