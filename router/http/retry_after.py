"""The time that a server asks its callers to wait, by the headers of its answer."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

#: Longest wait that a server can ask for, s. After a longer one the server is asked again once this has passed.
LONGEST_WAIT_S: Final = 3_600.0
#: A number of seconds this close to the present Unix time is an instant and not a wait, s.
_ABOUT_NOW_S: Final = 7 * 86_400.0
_HEADER_LENGTH = 100


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks us to wait, by whichever of the usual headers; ``None`` if it does not say.

    At most :data:`LONGEST_WAIT_S`. A number that is Unix time of about now (gateways send that) is the time until then.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, LONGEST_WAIT_S)
    raw = headers.get("retry-after")
    seconds = _number(raw)
    if seconds is None:
        seconds = _seconds_until(raw)
    elif abs(seconds - time.time()) <= _ABOUT_NOW_S:
        seconds -= time.time()
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_WAIT_S)


def _seconds_until(date: str | None) -> float | None:
    if date is None or len(date) > _HEADER_LENGTH:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError, TypeError, OSError, IndexError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float((text or "")[:_HEADER_LENGTH])
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
