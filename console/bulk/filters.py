"""Which jobs a command is about: the options that ``jobs list``, ``results``, ``cancel`` and ``retry`` share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from errors import InvalidInputError
from storage.catalogue import policy, tenants
from storage.db import names
from storage.db.connect import Connection
from storage.jobs import selection
from storage.jobs.jobs import State
from storage.jobs.selection import Selection

Tenant = Annotated[str | None, typer.Option("--tenant", help="Only jobs of this tenant: its id, external id or name.")]


class StateWord(StrEnum):
    """What ``--state`` takes: a state, or a word for several."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    WAITING = "waiting"  # scheduled or queued


States = Annotated[
    list[StateWord] | None,
    typer.Option(
        "--state", help="Only jobs in this state; waiting is scheduled or queued. It may be given several times."
    ),
]
Feature = Annotated[str | None, typer.Option("--feature", help="Only jobs of this feature.")]
User = Annotated[str | None, typer.Option("--user", help="Only jobs of this user.")]
Lane = Annotated[str | None, typer.Option("--lane", help="Only jobs of this lane.")]
Since = Annotated[
    str | None,
    typer.Option("--since", help="Only jobs created at this time or later: 2026-11-29, 2026-11-29T14:00Z, or 90m ago."),
]
Until = Annotated[str | None, typer.Option("--until", help="Only jobs created before this time.")]
Ids = Annotated[
    Path | None,
    typer.Option(
        "--ids", help="Only the jobs of this file: an id a line, or JSON lines with ids. - is standard input."
    ),
]
OneId = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="The id of one job, or its first digits: eight or more.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")]
Everything = Annotated[bool, typer.Option("--all", help="All jobs, where no other option narrows them.")]

_WAITING = (State.SCHEDULED, State.QUEUED)
_AGE = re.compile(r"(\d{1,6})([smhdw])(?: ago)?")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_TIME_HINT = "Write 2026-11-29, 2026-11-29T14:00Z (UTC where no zone is named), or an age: 90m, 12h, 7d."


@dataclass(frozen=True, slots=True)
class Filters:
    """The command line's choice of jobs."""

    tenant: str | None = None
    states: Sequence[StateWord] | None = None
    feature: str | None = None
    user: str | None = None
    lane: str | None = None
    since: str | None = None
    until: str | None = None

    @property
    def meant(self) -> tuple[State, ...]:
        """The states that are given, each once; none means that no state is given."""
        return tuple(
            dict.fromkeys(
                state
                for word in self.states or ()
                for state in (_WAITING if word is StateWord.WAITING else (State(word),))
            )
        )

    @property
    def narrows(self) -> bool:
        """Whether anything is given."""
        given = (self.tenant, self.feature, self.user, self.lane, self.since, self.until)
        return bool(self.states) or any(one is not None for one in given)

    def require(self, *, ids: Path | None, everything: bool) -> None:
        """Refuse a command without any filter: an empty command line does not mean all jobs.

        :raises InvalidInputError: neither a filter, nor a file of ids, nor ``--all``; or ``--all`` beside another
            filter.
        """
        if not everything and ids is None and not self.narrows:
            raise InvalidInputError(
                "no filter is given, so it is unclear which jobs are meant",
                field="filters",
                hint="Give --tenant, --state, --feature, --user, --lane, --since, --until or --ids, or --all.",
            )
        if everything and (ids is not None or self.narrows):
            raise InvalidInputError("goes with no other filter", field="all", hint="Leave --all out.")

    def refuse_beside_id(self, *, ids: Path | None, everything: bool) -> None:
        """Make sure that one job is meant. Raises :class:`errors.InvalidInputError` where filters are given too."""
        if self.narrows or ids is not None or everything:
            raise InvalidInputError(
                "goes with no filter", field="id", hint="Give one id, or filters that choose among all jobs."
            )

    def selection(self, connection: Connection) -> Selection:
        """The same selection for the database.

        :raises UnknownTenantError: there is no such tenant; the errors for a feature or a lane are of their own kinds.
        :raises InvalidInputError: a time cannot be read, or several tenants have that name.
        """
        now = selection.moment(connection)
        since, until = _instant(self.since, now, "since"), _instant(self.until, now, "until")
        if since is not None and until is not None and since >= until:
            raise InvalidInputError("is not after --since", field="until", value=self.until)
        return Selection(
            tenant_id=None if self.tenant is None else tenants.resolve(connection, self.tenant).id,
            states=self.meant,
            feature=None if self.feature is None else policy.known_feature(connection, self.feature, retired=True),
            user_id=None if self.user is None else names.clean_name(self.user, field="user"),
            lane=None if self.lane is None else policy.known_lane(connection, self.lane, retired=True),
            since=since,
            until=until,
        )


def _instant(text: str | None, now: datetime, field: str) -> datetime | None:
    """The time that is meant: an instant, or an age before now."""
    if text is None:
        return None
    age = _AGE.fullmatch(text.strip())
    try:
        if age is not None:
            at = now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        else:
            at = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise InvalidInputError("is not a time", field=field, value=text, hint=_TIME_HINT) from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise InvalidInputError(
            f"must be a time of the years {_FIRST_YEAR} to {_LAST_YEAR}", field=field, value=text, hint=_TIME_HINT
        )
    return at.astimezone(UTC)
