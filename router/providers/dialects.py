"""The API that a server speaks, if it is not the expected one: a wrong base URL is told apart from a broken answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def spoken(answer: Mapping[str, Any], *, instead_of: str) -> str | None:
    """The message for an answer in another API's form; ``None`` when its form is not known."""
    if isinstance(answer.get("choices"), list):
        speaks = "Chat Completions"
    elif answer.get("object") == "response":
        speaks = "Responses"
    elif answer.get("type") == "message":
        speaks = "Messages"
    else:
        return None
    return None if speaks == instead_of else f"this server speaks {speaks}, not {instead_of}: is the base URL right?"
