"""When a tenant meets its cap if it goes on spending as it does now. No database, no clock: figures in, figures out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

HORIZON_HOURS = 24
"""How far ahead is looked."""

_HOUR = timedelta(hours=1)
_STAYS = timedelta(hours=25)  # from the start of its hour until a bucket leaves the window
_MILLIONTH = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class CapWindow:
    """A tenant's cap as it stands at ``now``, USD. ``buckets`` is the window's spend by the UTC hour of its start.

    ``limit_usd`` is None when there is no cap.
    """

    tenant_id: UUID
    tenant: str
    now: datetime
    limit_usd: Decimal | None
    spent_usd: Decimal
    reserved_usd: Decimal
    buckets: Mapping[datetime, Decimal]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What comes of it. ``pace_usd`` is USD an hour; ``meets_cap_at`` is None when not within the horizon.

    ``today_usd`` is what was spent this UTC day until now, ``day_usd`` what it comes to by midnight; the cap stops it.
    Pace and expectation are rounded to a millionth of a dollar.
    """

    window: CapWindow
    pace_usd: Decimal
    meets_cap_at: datetime | None
    today_usd: Decimal
    day_usd: Decimal

    @property
    def met_now(self) -> bool:
        """Whether the cap leaves no room already."""
        return self.meets_cap_at == self.window.now


def forecast(window: CapWindow, *, hours: int) -> Forecast:
    """Go on at the pace of the running hour and the ``hours`` whole ones before it, hour by hour for a day.

    With each hour that turns, the oldest bucket leaves the window and frees its room. What is reserved now counts as in
    the way throughout: as some calls settle, others begin.
    """
    hour = window.now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    pace = _since(window, hour - hours * _HOUR) / _in_hours(window.now - hour + hours * _HOUR)
    midnight = hour.replace(hour=0) + timedelta(days=1)
    today = _since(window, midnight - timedelta(days=1))

    spent, expected, meets = window.spent_usd, today, None
    start, end_of_all = window.now, window.now + HORIZON_HOURS * _HOUR
    while start < end_of_all:
        end = min(hour + _HOUR, end_of_all)
        more = pace * _in_hours(end - start)
        if window.limit_usd is not None:
            room = max(window.limit_usd - spent - window.reserved_usd, Decimal(0))
            if more >= room and (room == 0 or pace > 0):
                meets = meets or start + (timedelta(hours=float(room / pace)) if room else timedelta())
                more = room
        spent += more
        if start < midnight:
            expected += more
        start, hour = end, hour + _HOUR
        spent -= window.buckets.get(hour - _STAYS, Decimal(0))
    return Forecast(window, pace.quantize(_MILLIONTH), meets, today, max(expected.quantize(_MILLIONTH), today))


def _since(window: CapWindow, start: datetime) -> Decimal:
    return sum((usd for hour, usd in window.buckets.items() if hour >= start), Decimal(0))


def _in_hours(time: timedelta) -> Decimal:
    return Decimal(time // timedelta(microseconds=1)) / Decimal(3_600_000_000)
