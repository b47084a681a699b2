"""Texts that are sent where an id is asked for, by people, machines and enemies: made from Unicode's classes."""

from __future__ import annotations

import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

# Unassigned in Python's Unicode and made of two in a newer one, or a mark whose place is another one there.
NEWER = ("\U000105d2\u0307", "a\u0897\u0301", "\U00011382\U000113c9", "a\U00010efd\u0323", "\U00016d63\U00016d67")
SENTENCES = (
    "José", "Jose\u0301", "Zoë", "\u212b", "\u2126", "ﬁ", "ß", "İ", "ı", "ǅ", "कि", "\u1112\u1161\u11ab", "한",
    "が", "か\u3099", "q\u0307\u0323", "q\u0323\u0307", "a" + "\u0301" * 29, "a" + "\u0301" * 199,
    "a" + "\u0316\u0301" * 99, "\u0301", "\u0344", "👩\u200d👩\u200d👧\u200d👦", "🏴\U000e0067\U000e0062\U000e007f",
    "🇳🇴", "👍🏽", "❤\ufe0f", "\U0001fae8", "𝕬𝖓𝖓", "Ａｎｎ", "anna ", " anna", "an na", "\tanna", "anna\n",
    "anna\r\n", "an\u200bna", "\u200fanna", "anna\u202egpj.exe", "\u2067anna\u2069", "null", "NULL", "None",
    "undefined", "NaN", "true", "0", "-1", "1e309", "٥", "00000000-0000-0000-0000-000000000000",
    "'; drop table headrace.jobs; --", "\" or 1=1", "$$", "%s", "%(key)s", "{}", "[]", '{"$ne": null}', "\\",
    "\\u0000", "\\x00", "../../etc/passwd", "$(reboot)", "`reboot`", "a|b", "a;b", "a&&b",
    "<script>alert(1)</script>", "{{ message }}", "user:ann", "tenant:", "*", "?", "a,b", "a\u2028b", "a\u2029b",
    "\ufeffanna", "\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\ue000", "\u3164", "\u2800", "\xad", "\u034f",
    "\u180e", "\ufe0f", "\U000e0001", "\u200d", "\xa0", "\u3000", " ", "  \u2003 ", *NEWER,
)  # fmt: skip
SIZES = (
    "", "a" * 200, "a" * 201, "é" * 200, "é" * 201, "e\u0301" * 200, "e\u0301" * 201,
    "\u03b1\u0313\u0300\u0345" * 200, "\u03b1\u0313\u0300\u0345" * 200 + "a", "\u1f82" * 200, "\ufb2c" * 66,
    "\ufb2c" * 67, "\U0001d160" * 100, "😀" * 200, "😀" * 201, "a" * 800, "a" * 801, "é" * 801, "e\u0301" * 100_000,
    " " * 200, " " * 201,
)  # fmt: skip
UNSTORABLE = ("\x00", "a\x00", "\ud800", "\udfffa", "a\ud83d", "\ude00\ud83d")
"""What no text of Postgres and no UTF-8 can hold."""


@cache
def texts() -> tuple[str, ...]:
    """Some thousands of them, without what Postgres cannot be sent."""
    return tuple(dict.fromkeys([*SENTENCES, *SIZES, *_of_classes()]))


def _of_classes() -> Iterator[str]:
    """Of each category all that are few, else every so many; and all that composing changes, alone and in a word."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for code in range(1, sys.maxunicode + 1):
        one = chr(code)
        category = unicodedata.category(one)
        if category == "Cs":
            continue
        found[category].append(one)
        if not one.isascii() and unicodedata.normalize("NFC", one) != one:
            yield one
            yield f"a{one}b"
        elif unicodedata.combining(one):
            yield f"a\u0345{one}\u0301"
    for category, members in found.items():
        step = 1 if category in ("Cc", "Cf", "Zs", "Zl", "Zp") else max(len(members) // 40, 1)
        for one in members[::step]:
            yield one
            yield f"a{one}b"
