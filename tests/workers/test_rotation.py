"""Whose turn it is at a chore: no tenant is left out, whatever ends a pass early."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import pytest

from errors import CutOffError
from storage.fleet.recovery import Looked
from workers.rotation import FIRST, LEAST_ROWS, OldestFirst, Rotation

TENANTS = [UUID(int=n) for n in range(1, 8)]


def look(after: UUID, most: int) -> Looked:
    found = [tenant for tenant in TENANTS if tenant > after][:most]
    return Looked(found, found[-1] if len(found) == most else None)


def passes(rotation: Rotation, work: Callable[[Sequence[UUID]], Mapping[UUID, str | None]], times: int) -> list[bool]:
    return [rotation.give(rotation.ask(look), work) for _ in range(times)]


def test_a_pass_that_has_no_time_left_goes_on_with_the_next_tenant() -> None:
    rotation, had = Rotation(), []

    def first_two(tenants: Sequence[UUID]) -> Mapping[UUID, str | None]:
        had.extend(tenants[:2])
        return dict.fromkeys(tenants[:2])

    more = passes(rotation, first_two, 4)

    assert had == TENANTS
    assert more == [True, True, True, False]
    assert rotation.after == FIRST


def test_a_tenant_that_was_not_through_goes_on_where_it_ended_and_is_forgotten_when_it_is_gone() -> None:
    rotation = Rotation()

    def work(tenants: Sequence[UUID]) -> Mapping[UUID, str | None]:
        return {tenant: "list-9" if tenant == TENANTS[3] else None for tenant in tenants}

    assert passes(rotation, work, 1) == [True]
    assert rotation.turn(TENANTS[3:5]) == {TENANTS[3]: "list-9", TENANTS[4]: None}
    rotation.give(Looked([], None), work)
    assert rotation.upto == {}


def test_a_pass_that_is_cut_off_is_halved_and_a_tenant_that_is_cut_off_alone_is_passed_by() -> None:
    rotation, sizes, had = Rotation(most=4), [], set()

    def work(tenants: Sequence[UUID]) -> Mapping[UUID, str | None]:
        sizes.append(len(tenants))
        if TENANTS[1] in tenants:
            raise CutOffError
        had.update(tenants)
        return dict.fromkeys(tenants)

    for _ in range(20):
        try:
            passes(rotation, work, 1)
        except CutOffError:
            continue
        if had >= {*TENANTS} - {TENANTS[1]}:
            break

    assert had == {*TENANTS} - {TENANTS[1]}
    assert sizes[:2] == [4, 2]


def test_a_backlog_does_the_oldest_first_and_after_a_full_pass_everybody_has_a_turn() -> None:
    left, asked = dict.fromkeys(TENANTS, 10) | {TENANTS[0]: 120}, []

    def work(tenants: Sequence[UUID] | None, limit: int) -> int:
        asked.append(tenants)
        share = limit // len(tenants) if tenants else limit
        done = 0
        for tenant in tenants or [TENANTS[0]]:  # the first tenant has the oldest
            some = min(share, left[tenant])
            left[tenant] -= some
            done += some
        return done

    backlog = OldestFirst(70)
    more = [backlog.work_off(look, work) for _ in range(3)]

    assert asked == [None, TENANTS, None]
    assert more == [True, True, False]
    assert set(left.values()) == {0}


def test_a_backlog_that_is_cut_off_takes_smaller_passes_and_recovers() -> None:
    backlog, limits = OldestFirst(500), []

    def too_much(_tenants: Sequence[UUID] | None, limit: int) -> int:
        limits.append(limit)
        raise CutOffError

    for _ in range(9):
        with pytest.raises(CutOffError):
            backlog.work_off(look, too_much)
    for _ in range(7):
        backlog.work_off(look, lambda _tenants, limit: limits.append(limit) or 0)

    assert limits[:3] == [500, 250, 125]
    assert limits[8] == LEAST_ROWS
    assert limits[-1] == 500
