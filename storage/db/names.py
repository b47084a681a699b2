"""What an id or a name may be: one rule for every way in, and what a name that is unknown may have meant.

An id (of a user, an idempotency key) and a name (of a tenant, a feature, a lane, a prompt) are kept in Unicode's
composed form (NFC), so that the same word is the same id wherever it was typed. What cannot be seen is refused and
never taken out in silence: two users must not become one. ``headrace.compose`` and ``headrace.name_fault`` say the
same in SQL (``storage/db/functions/name_fault.sql``). SQL has the last word, for its Unicode may be a newer one than
Python's. A test holds both beside each other.

Pure; imports nothing of ours but the errors.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from errors import InvalidInputError

LONGEST_ID: Final = 200
"""Characters of a user's id, an idempotency key, a tenant's name and its external id, composed."""
LONGEST_FEATURE: Final = 61
"""Characters of a feature's and of a prompt's name, as the tables have it."""
LONGEST_LANE: Final = 31
SHOWN: Final = 10
"""So many of the names that there are stand in an error at most."""

_COMPOSES_FROM: Final = 4  # characters at most become one: a longer text is too long however it composes
_LONGEST_RAW: Final = _COMPOSES_FROM * LONGEST_ID
# C0 and C1 controls, the separators of lines and paragraphs, what overrides or isolates a direction of text, the byte
# order mark, and halves of surrogate pairs, which no UTF-8 has.
_REFUSED: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
# Spaces of all widths, soft hyphen, joiners, fillers, variation selectors, tags: alone they are seen as nothing.
_UNSEEN: Final = re.compile(
    "[\x20\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u202f\u205f-\u2065\u206a-\u206f\u2800"
    "\u3000\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]*"
)
# Composing sorts the marks of a row in a time that grows with its square, and a request has five names. 30 in a row is
# what Unicode's Stream-Safe Text Format (UAX 15) allows, and more than any script uses. These are all of Unicode 14.
MARKS: Final = (
    "\u0300-\u034e\u0350-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a"
    "\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u07eb-\u07f3\u07fd"
    "\u0816-\u0819\u081b-\u0823\u0825-\u0827\u0829-\u082d\u0859-\u085b\u0898-\u089f\u08ca-\u08e1\u08e3-\u08ff"
    "\u093c\u094d\u0951-\u0954\u09bc\u09cd\u09fe\u0a3c\u0a4d\u0abc\u0acd\u0b3c\u0b4d\u0bcd\u0c3c\u0c4d"
    "\u0c55\u0c56\u0cbc\u0ccd\u0d3b\u0d3c\u0d4d\u0dca\u0e38-\u0e3a\u0e48-\u0e4b\u0eb8-\u0eba\u0ec8-\u0ecb"
    "\u0f18\u0f19\u0f35\u0f37\u0f39\u0f71\u0f72\u0f74\u0f7a-\u0f7d\u0f80\u0f82-\u0f84\u0f86\u0f87\u0fc6\u1037"
    "\u1039\u103a\u108d\u135d-\u135f\u1714\u1715\u1734\u17d2\u17dd\u18a9\u1939-\u193b\u1a17\u1a18\u1a60"
    "\u1a75-\u1a7c\u1a7f\u1ab0-\u1abd\u1abf-\u1ace\u1b34\u1b44\u1b6b-\u1b73\u1baa\u1bab\u1be6\u1bf2\u1bf3\u1c37"
    "\u1cd0-\u1cd2\u1cd4-\u1ce0\u1ce2-\u1ce8\u1ced\u1cf4\u1cf8\u1cf9\u1dc0-\u1dff\u20d0-\u20dc\u20e1\u20e5-\u20f0"
    "\u2cef-\u2cf1\u2d7f\u2de0-\u2dff\u302a-\u302f\u3099\u309a\ua66f\ua674-\ua67d\ua69e\ua69f\ua6f0\ua6f1\ua806"
    "\ua82c\ua8c4\ua8e0-\ua8f1\ua92b-\ua92d\ua953\ua9b3\ua9c0\uaab0\uaab2-\uaab4\uaab7\uaab8\uaabe\uaabf\uaac1"
    "\uaaf6\uabed\ufb1e\ufe20-\ufe2f\U000101fd\U000102e0\U00010376-\U0001037a\U00010a0d\U00010a0f"
    "\U00010a38-\U00010a3a\U00010a3f\U00010ae5\U00010ae6\U00010d24-\U00010d27\U00010eab\U00010eac"
    "\U00010f46-\U00010f50\U00010f82-\U00010f85\U00011046\U00011070\U0001107f\U000110b9\U000110ba"
    "\U00011100-\U00011102\U00011133\U00011134\U00011173\U000111c0\U000111ca\U00011235\U00011236"
    "\U000112e9\U000112ea\U0001133b\U0001133c\U0001134d\U00011366-\U0001136c\U00011370-\U00011374\U00011442"
    "\U00011446\U0001145e\U000114c2\U000114c3\U000115bf\U000115c0\U0001163f\U000116b6\U000116b7\U0001172b"
    "\U00011839\U0001183a\U0001193d\U0001193e\U00011943\U000119e0\U00011a34\U00011a47\U00011a99\U00011c3f"
    "\U00011d42\U00011d44\U00011d45\U00011d97\U00016af0-\U00016af4\U00016b30-\U00016b36\U00016ff0\U00016ff1"
    "\U0001bc9e\U0001d165-\U0001d169\U0001d16d-\U0001d172\U0001d17b-\U0001d182\U0001d185-\U0001d18b"
    "\U0001d1aa-\U0001d1ad\U0001d242-\U0001d244\U0001e000-\U0001e006\U0001e008-\U0001e018\U0001e01b-\U0001e021"
    "\U0001e023\U0001e024\U0001e026-\U0001e02a\U0001e130-\U0001e136\U0001e2ae\U0001e2ec-\U0001e2ef"
    "\U0001e8d0-\U0001e8d6\U0001e944-\U0001e94a"
)
_ROW_OF_MARKS: Final = re.compile(f"[{MARKS}]{{31}}")


def compose(text: str) -> str:
    """The text in composed form. What is too long for an id, or holds too many marks in a row, stays as it is."""
    if text.isascii() or len(text) > _LONGEST_RAW or _ROW_OF_MARKS.search(text):
        return text
    return unicodedata.normalize("NFC", text)


def name_fault(text: str, most: int = LONGEST_ID) -> str | None:
    """Why a composed text cannot be an id or a name of at most ``most`` characters; None when it can."""
    if not 1 <= len(text) <= most:
        return f"needs 1 to {most} characters"
    if _REFUSED.search(text):
        return "holds a control character, a line separator, a direction override or half of a surrogate pair"
    if _ROW_OF_MARKS.search(text):
        return "holds more than 30 combining marks in a row"
    if _UNSEEN.fullmatch(text):
        return "holds nothing that can be seen"
    return None


def clean_name(text: str, *, field: str, most: int = LONGEST_ID) -> str:
    """The id or name as it is kept.

    :raises InvalidInputError: it cannot be one, naming ``field``.
    """
    text = compose(text)
    why = name_fault(text, most)
    if why is not None:
        raise InvalidInputError(why, field=field, value=text)
    return text


def did_you_mean(given: str, known: Iterable[str], *, more: str | None = None) -> str:
    """What an unknown name may have meant, and what there is: at most :data:`SHOWN` names, those that are near first.

    ``known`` must be names that the reader may see. ``more``: where all of them are told.
    """
    names = list(dict.fromkeys(known))
    folded = {name.casefold(): name for name in reversed(names)}
    near = [folded[one] for one in get_close_matches(given[:LONGEST_ID].casefold(), list(folded), n=3)]
    sentences = [f"Did you mean {_listed(near)}?"] if near else []
    if not names:
        sentences.append("There are none yet.")
    elif len(names) <= SHOWN:
        sentences.append(f"There {'is' if len(names) == 1 else 'are'}: {', '.join(names)}.")
    else:
        first = [*near, *(name for name in names if name not in near)][:SHOWN]
        sentences.append(f"Some that there are: {', '.join(first)}.")
    if more is not None:
        sentences.append(more)
    return " ".join(sentences)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
