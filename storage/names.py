"""What an id or a name may be: one rule for every way in, and what a name that is unknown may have meant.

An id (of a user, an idempotency key) and a name (of a tenant, a feature, a lane, a prompt) are kept in Unicode's
composed form (NFC), so that the same word is the same id wherever it was typed. What cannot be seen is refused and
never taken out in silence: two users must not become one. ``headrace.composed`` and ``headrace.name_fault`` say the
same in SQL (``storage/functions/operations/names.sql``). SQL has the last word, for its Unicode may be a newer one than
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


def composed(text: str) -> str:
    """The text in composed form. One that is too long for an id anyway stays as it is: composing costs its length."""
    return text if text.isascii() or len(text) > _LONGEST_RAW else unicodedata.normalize("NFC", text)


def fault(text: str, most: int = LONGEST_ID) -> str | None:
    """Why a composed text cannot be an id or a name of at most ``most`` characters; None when it can."""
    if not 1 <= len(text) <= most:
        return f"needs 1 to {most} characters"
    if _REFUSED.search(text):
        return "holds a control character, a line separator, a direction override or half of a surrogate pair"
    if _UNSEEN.fullmatch(text):
        return "holds nothing that can be seen"
    return None


def cleaned(text: str, *, field: str, most: int = LONGEST_ID) -> str:
    """The id or name as it is kept.

    :raises InvalidInputError: it cannot be one, naming ``field``.
    """
    text = composed(text)
    why = fault(text, most)
    if why is not None:
        raise InvalidInputError(why, field=field, value=text)
    return text


def hint(given: str, known: Iterable[str], *, more: str | None = None) -> str:
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
