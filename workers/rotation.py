"""Whose turn it is at a chore: tenants in the order of their ids, each pass from where the last one ended.

So a pass that ends early, for lack of time or because it was cut off, costs nobody a place: the next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from errors import CutOffError
from storage.fleet.recovery import Looked

FIRST: Final = UUID(int=0)
MOST_TENANTS: Final = 200
"""So many tenants have a turn in one pass."""
LEAST_ROWS: Final = 10
"""A pass that is cut off again and again still does so many rows."""


@dataclass(slots=True)
class Rotation:
    """Turns of tenants at one chore. Not for several threads."""

    after: UUID = FIRST
    most: int = MOST_TENANTS  # tenants of one pass: fewer after a pass that was cut off
    upto: dict[UUID, str] = field(default_factory=dict)  # where in its lists a tenant goes on, if it was not through
    had: set[UUID] = field(default_factory=set)  # who had a turn in this round

    def ask(self, look: Callable[[UUID, int], Looked]) -> Looked:
        """Who has the next turns: ``look`` is given the tenant to go on after, and how many may have a turn."""
        return look(self.after, self.most)

    def turn(self, tenants: Sequence[UUID]) -> dict[UUID, str | None]:
        """These tenants, each with where in its lists it goes on."""
        return {tenant: self.upto.get(tenant) for tenant in tenants}

    def give(self, looked: Looked, work: Callable[[Sequence[UUID]], Mapping[UUID, str | None]]) -> bool:
        """Let these tenants have their turns; whether others are still to come, or more of theirs.

        ``work`` returns who of them had a turn, in order: where in its lists it goes on, None when it is through.
        When it is cut off, fewer have a turn in the next pass. A tenant that is cut off alone is passed by.

        :raises CutOffError: the work was cut off.
        """
        try:
            had = work(looked.tenants) if looked.tenants else {}
        except CutOffError:
            if len(looked.tenants) == 1:
                self._go_on(looked)
            self.most = max(1, min(self.most, len(looked.tenants)) // 2)
            raise
        self.most = min(MOST_TENANTS, 2 * self.most)
        self.had.update(had)
        for tenant, goes_on in had.items():
            if goes_on is None:
                self.upto.pop(tenant, None)
            else:
                self.upto[tenant] = goes_on
        last = next((tenant for tenant in reversed(looked.tenants) if tenant in had), None)
        if last is not None and last != looked.tenants[-1]:
            self.after = last  # the time was up
            return True
        self._go_on(looked)
        return looked.looked_to is not None or bool(self.upto)

    def _go_on(self, looked: Looked) -> None:
        self.after = looked.looked_to or FIRST
        if looked.looked_to is None:  # the round is over: what is kept of a tenant that was not there is forgotten
            self.upto = {tenant: goes_on for tenant, goes_on in self.upto.items() if tenant in self.had}
            self.had.clear()


@dataclass(slots=True)
class OldestFirst:
    """A chore that does the oldest first. After a full pass every tenant has a turn before the next such pass.

    ``most`` rows are done in a pass, and fewer after a pass that was cut off.
    """

    most: int
    limit: int = field(init=False)
    rotation: Rotation = field(default_factory=Rotation)
    in_turns: bool = field(default=False)  # a round of turns is under way

    def __post_init__(self) -> None:
        self.limit = self.most

    def work_off(self, look: Callable[[UUID, int], Looked], work: Callable[[Sequence[UUID] | None, int], int]) -> bool:
        """Do one pass; whether more waits. ``work`` is given whose turn it is (None: the oldest first) and how many.

        :raises CutOffError: the pass was cut off; the next one is smaller.
        """
        try:
            if self.in_turns:
                self.in_turns = self._has_turns(look, work)
                more = True
            else:
                self.in_turns = more = work(None, self.limit) >= self.limit
        except CutOffError:
            self.in_turns = True
            self.limit = max(LEAST_ROWS, self.limit // 2)
            raise
        self.limit = min(self.most, 2 * self.limit)
        return more

    def _has_turns(
        self, look: Callable[[UUID, int], Looked], work: Callable[[Sequence[UUID] | None, int], int]
    ) -> bool:
        def each(tenants: Sequence[UUID]) -> Mapping[UUID, None]:
            work(tenants, self.limit)
            return dict.fromkeys(tenants)

        return self.rotation.give(self.rotation.ask(look), each)
