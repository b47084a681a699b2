"""The job that a person means: by its whole id, or by its first digits."""

from __future__ import annotations

import re
from uuid import UUID

from errors import InvalidInputError, NotFoundError
from storage.db.session import operator_session
from storage.jobs import jobs

LEAST_DIGITS = 8
"""The first eight digits of an id are the time to 65 s, so fewer would mean too many jobs."""
SHOWN = 10
"""The most jobs that are named when several begin with these digits."""

_DIGITS = re.compile(r"[0-9a-f]+", re.ASCII)
_ALL = 32  # digits of an id


def whole_id(ops_url: str, text: str) -> str:
    """The id that the text is, or the only one that begins with it. A whole id is not looked up.

    :raises InvalidInputError: it is not the beginning of an id, it is too short, or several jobs' ids begin with it.
    :raises NotFoundError: no job's id begins with it.
    """
    digits = text.replace("-", "").lower()
    if not _DIGITS.fullmatch(digits) or len(digits) > _ALL:
        raise InvalidInputError("is not a job's id", field="id", value=text)
    if len(digits) == _ALL:
        return str(UUID(hex=digits))
    if len(digits) < LEAST_DIGITS:
        hint = f"Give {LEAST_DIGITS} digits or more."
        raise InvalidInputError("is too short for the beginning of an id", field="id", value=text, hint=hint)
    first, last = UUID(hex=digits.ljust(_ALL, "0")), UUID(hex=digits.ljust(_ALL, "f"))
    with operator_session(ops_url) as connection:
        found = jobs.by_prefix(connection, first=first, last=last, limit=SHOWN + 1)
    if not found:
        raise NotFoundError("no such job", field="id", value=text)
    if len(found) > 1:
        more = " and more" if len(found) > SHOWN else ""
        raise InvalidInputError(
            "is the beginning of several jobs' ids",
            field="id",
            value=text,
            hint=f"Give more digits. They are {', '.join(map(str, found[:SHOWN]))}{more}.",
            candidates=[str(one) for one in found[:SHOWN]],
        )
    return str(found[0])
