"""Input text made safe to keep and to send: what no reader can see and Postgres cannot store is taken out.

Pure; imports nothing of ours.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

# C0 and C1 controls but tab and newline, the byte order mark, and the bidirectional overrides that can make a text
# read differently from what it says (Unicode Technical Report 36; CVE-2021-42574).
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\u202a-\u202e\u2066-\u2069]")
_NEWLINES = re.compile("\r\n?|\u2028|\u2029")


def clean_text(text: str) -> str:
    """The text in Unicode's composed form (NFC), with plain newlines, without control characters."""
    text = _NEWLINES.sub("\n", text)
    text = _UNWANTED.sub("", text)
    text = text.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair becomes a question mark
    return unicodedata.normalize("NFC", text)


def clean_json(value: Any) -> Any:
    """The same for every text inside a JSON value, keys included."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(one) for one in value]
    return value
