"""A finding about one part, in words for the person who has to act on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from errors import HeadraceError

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about one part. A *note* is worth knowing; only *wrong* asks for something to be done."""

    part: str
    verdict: Verdict
    says: str
    to_do: str | None = None


def guarded(part: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The finding of a check. A failed check is a finding too, so that the next part is still checked."""
    try:
        yield from look()
    except HeadraceError as error:
        where = f"{error.field}: " if error.field else ""
        yield Finding(part, "wrong", f"{where}{error.message} [{error.code}]", error.hint)


def moment(when: datetime) -> str:
    """An instant to the minute, UTC."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def milliseconds(seconds: float) -> str:
    """A short time in milliseconds."""
    return f"{seconds * 1000:.2f} ms"
