"""Amounts as people write them on the command line. They are never floats: the written value is kept exactly."""

from __future__ import annotations

import re
from decimal import Decimal

from errors import InvalidInputError

_DECIMAL = re.compile(r"\d{1,12}(\.\d{1,12})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)


def usd(text: str, *, field: str) -> Decimal:
    """An amount of USD, 0 or more.

    :raises InvalidInputError: it is not an amount.
    """
    if not _DECIMAL.fullmatch(text):
        raise InvalidInputError("is not an amount of USD", field=field, value=text, hint="Write it like 5 or 0.25.")
    return Decimal(text)


def share(text: str, *, field: str) -> Decimal:
    """A part of a whole, above 0 and up to 1.

    :raises InvalidInputError: it is not such a part.
    """
    if not _DECIMAL.fullmatch(text) or not 0 < Decimal(text) <= 1:
        hint = "A share is above 0 and up to 1: write 0.2 for a fifth."
        raise InvalidInputError("is not a share", field=field, value=text, hint=hint)
    return Decimal(text)


def weight(text: str, *, field: str) -> Decimal:
    """A weight as it is written; its caller checks the range.

    :raises InvalidInputError: it is not a number.
    """
    if not _DECIMAL.fullmatch(text):
        raise InvalidInputError("is not a weight", field=field, value=text, hint="Write it like 3 or 0.5.")
    return Decimal(text)


def concurrent(text: str, *, field: str) -> int:
    """A number of jobs at once, 0 or more.

    :raises InvalidInputError: it is not such a number.
    """
    if not _WHOLE.fullmatch(text):
        hint = "Write a whole number like 20; 0 lets nothing run, 'none' lifts the cap."
        raise InvalidInputError("is not a number of jobs at once", field=field, value=text, hint=hint)
    return int(text)


def per_minute(text: str, *, field: str) -> int:
    """A number of requests a minute, 1 or more.

    :raises InvalidInputError: it is not such a number.
    """
    if not _WHOLE.fullmatch(text) or int(text) < 1:
        hint = "Write a whole number of 1 or more, like 60."
        raise InvalidInputError("is not a number of requests a minute", field=field, value=text, hint=hint)
    return int(text)
