"""Which API a server speaks, when it is not the one that was asked: a wrong base URL is told from a broken answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def spoken(answer: Mapping[str, Any], *, instead_of: str) -> str | None:
    """What to say of an answer in another API's form; ``None`` when it is in none that is known."""
    if isinstance(answer.get("choices"), list):
        speaks = "Chat Completions"
    elif answer.get("object") == "response":
        speaks = "Responses"
    elif answer.get("type") == "message":
        speaks = "Messages"
    else:
        return None
    return None if speaks == instead_of else f"this server speaks {speaks}, not {instead_of}: is the base URL right?"
