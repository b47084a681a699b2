"""Pause and resume, shared by both commands: the target, the change, and the turns that follow a resume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from console.actor import actor
from console.composition import wire_from
from console.endpoints import Endpoints
from console.terminal.output import note
from errors import InvalidInputError, ServiceError
from settings import Settings
from storage.db.session import operator_session
from storage.fleet import pauses
from storage.fleet.pauses import Pausable, PausableKind
from storage.fleet.recovery import Turns

Tenant = Annotated[str | None, typer.Option(help="This tenant: its id, external id or name.")]
Feature = Annotated[str | None, typer.Option(help="This feature, for all tenants.")]
Lane = Annotated[str | None, typer.Option(help="This lane, for all tenants.")]


@dataclass(frozen=True, slots=True)
class PauseChange:
    """The target, and whether it was changed (False: it was in that state already)."""

    what: Pausable
    changed: bool


def meant(*, tenant: str | None, feature: str | None, lane: str | None) -> tuple[PausableKind, str] | None:
    """The one target that the options name; None if they name none.

    :raises InvalidInputError: they name several.
    """
    given = [
        (kind, value)
        for kind, value in ((PausableKind.TENANT, tenant), (PausableKind.FEATURE, feature), (PausableKind.LANE, lane))
        if value is not None
    ]
    if len(given) > 1:
        names = " and ".join(f"--{kind}" for kind, _ in given)
        raise InvalidInputError(
            f"{names} do not go together",
            field=given[1][0],
            hint="Run the command once for each.",
        )
    return given[0] if given else None


def pause(services: Endpoints, kind: PausableKind, given: str) -> PauseChange:
    """Pause it in the name of the user of this command.

    :raises InvalidInputError: there is no such target (or a subclass that says so).
    """
    with operator_session(services.require_ops()) as connection:
        what = pauses.resolve(connection, kind, given)
        return PauseChange(what, pauses.pause(connection, what, actor=actor()))


def resume(settings: Settings, services: Endpoints, kind: PausableKind, given: str) -> PauseChange:
    """Resume it in the name of the user of this command, and offer its turns at once.

    Turns are offered even if it was not paused: a repeated offer adds none, and it repairs an earlier resume whose
    turns were lost.

    :raises InvalidInputError: there is no such target (or a subclass that says so).
    """
    with operator_session(services.require_ops()) as connection:  # it commits each statement
        what = pauses.resolve(connection, kind, given)
        changed = pauses.resume(connection, what, actor=actor())
        turns = pauses.turns(connection, what, turns_per_tenant=settings.turns_per_tenant)
    _offer(settings, services, turns)
    return PauseChange(what, changed)


def _offer(settings: Settings, services: Endpoints, turns: Turns) -> None:
    wire = wire_from(settings, services)
    try:
        for lane, of_lane in turns.items():
            if lane in wire.lanes:
                wire.refill(lane, {str(tenant): n for tenant, n in of_lane.items()})
    except ServiceError as error:  # a hint: the sweep finds the backlog within a second of the wire's return
        note(f"resumed, but the wire does not answer; the scheduler offers the turns when it is back: {error}")
    finally:
        wire.close()
