"""When a cap is met at the present pace: by hand on the edges, and against a slower count on drawn windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.money.spend_forecast import CapWindow, Forecast, forecast

NOW = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def usd(text: str) -> Decimal:
    return Decimal(text)


def at(hours_ago: int, now: datetime = NOW) -> datetime:
    """The start of the hour that many hours before the running one."""
    return now.replace(minute=0, second=0, microsecond=0) - hours_ago * HOUR


def window(spent: dict[int, str], *, limit: str | None = "10", reserved: str = "0", now: datetime = NOW) -> CapWindow:
    """A window by what was spent how many hours ago."""
    buckets = {at(ago, now): Decimal(amount) for ago, amount in spent.items()}
    return CapWindow(
        tenant_id=UUID(int=1),
        tenant="Acme",
        now=now,
        limit_usd=None if limit is None else Decimal(limit),
        spent_usd=sum(buckets.values(), Decimal(0)),
        reserved_usd=Decimal(reserved),
        buckets=buckets,
    )


def test_the_pace_is_of_the_running_hour_and_the_whole_ones_before_it() -> None:
    spent = {0: "1", 1: "2", 3: "4", 4: "100"}

    assert forecast(window(spent, limit="1000"), hours=3).pace_usd == usd("2")  # 7 USD in 3.5 hours
    assert forecast(window(spent, limit="1000"), hours=1).pace_usd == usd("2")  # 3 in 1.5
    assert forecast(window(spent, limit="1000"), hours=4).pace_usd == usd("23.777778")  # 107 in 4.5, rounded


def test_it_is_met_when_what_is_left_has_been_spent() -> None:
    found = forecast(window({0: "1", 1: "2", 3: "4"}, reserved="1"), hours=3)

    assert (found.meets_cap_at, found.met_now) == (NOW + HOUR, False), "2 USD of room at 2 USD an hour"


@pytest.mark.parametrize(
    ("spent", "reserved", "limit"),
    [({0: "10"}, "0", "10"), ({0: "4"}, "6", "10"), ({20: "11"}, "0", "10"), ({}, "0", "0"), ({}, "1", "0.5")],
)
def test_a_cap_without_room_is_met_now(spent: dict[int, str], reserved: str, limit: str) -> None:
    found = forecast(window(spent, reserved=reserved, limit=limit), hours=3)

    assert (found.met_now, found.meets_cap_at) == (True, NOW)


def test_who_spends_nothing_meets_nothing() -> None:
    for spent in ({}, {4: "9.99"}):
        found = forecast(window(spent), hours=3)
        assert (found.pace_usd, found.meets_cap_at) == (0, None)


def test_room_returns_as_old_hours_leave_the_window() -> None:
    # 9 USD, of which 8 leave at 11:00; without that, 1 USD of room at 1/3.5 an hour would last 3.5 hours
    old = {24: "8", 0: "1"}
    kept = {23: "8", 0: "1"}

    assert forecast(window(old), hours=3).meets_cap_at is None
    # 8 USD of the hour after leave at 12:00, which is in time as well
    assert forecast(window(kept), hours=3).meets_cap_at is None
    # ... and the hour after that leaves at 14:00 on the dot, when 3.5 hours are over
    assert forecast(window({21: "8", 0: "1"}), hours=3).meets_cap_at == datetime(2026, 3, 1, 14, 0, tzinfo=UTC)
    assert forecast(window({22: "8", 0: "1"}), hours=3).meets_cap_at is None


def test_it_may_be_met_after_old_hours_have_left() -> None:
    # 1 USD an hour; 5 USD of room, of which 2.5 are used when 3 USD leave at 13:00
    found = forecast(window({22: "3", 0: "1.5", 3: "2"}, limit="11.5"), hours=3)

    assert found.pace_usd == 1
    assert found.meets_cap_at == NOW + 8 * HOUR


def test_nothing_is_said_of_more_than_a_day() -> None:
    spent = {0: "0.35"}  # 0.1 USD an hour: 2.4 within a day

    assert forecast(window(spent, limit="2.75"), hours=3).meets_cap_at == NOW + 24 * HOUR
    assert forecast(window(spent, limit="2.76"), hours=3).meets_cap_at is None


def test_the_day_ends_at_midnight_utc_and_the_cap_stops_it() -> None:
    spent = {0: "3.5", 10: "1", 11: "2"}  # 11 hours ago was yesterday; 1 USD an hour for 13.5 hours more

    free = forecast(window(spent, limit="100"), hours=3)
    stopped = forecast(window(spent, limit="8.5"), hours=3)
    uncapped = forecast(window(spent, limit=None), hours=3)

    assert (free.today_usd, free.day_usd) == (usd("4.5"), usd("18"))
    assert (uncapped.day_usd, uncapped.meets_cap_at) == (usd("18"), None)
    # 2 USD of room, and 2 more once yesterday's 2 USD leave at 00:00, which is too late for this day
    assert (stopped.meets_cap_at, stopped.day_usd) == (NOW + 2 * HOUR, usd("6.5"))


def test_an_hour_that_has_just_begun_divides_by_no_zero() -> None:
    now = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)

    found = forecast(window({0: "0", 1: "2"}, now=now), hours=1)

    assert (found.pace_usd, found.today_usd, found.day_usd) == (2, 0, 8)
    assert found.meets_cap_at == now + 4 * HOUR


def by_the_minute(given: CapWindow, hours: int) -> tuple[int | None, Fraction]:
    """The same count in another way: minute by minute, in fractions. Minutes until it is met, and the day's spend."""
    buckets = {hour: Fraction(amount) for hour, amount in given.buckets.items()}
    this = given.now.replace(minute=0)
    lasted = Fraction(hours * 60 + given.now.minute, 60)
    pace = sum((v for k, v in buckets.items() if k >= this - hours * HOUR), Fraction(0)) / lasted / 60
    midnight = given.now.replace(hour=0, minute=0) + timedelta(days=1)
    day = sum((v for k, v in buckets.items() if k >= midnight - timedelta(days=1)), Fraction(0))
    assert given.limit_usd is not None
    room_for = Fraction(given.limit_usd) - Fraction(given.reserved_usd)
    met, inside = None, Fraction(0)
    for minute in range(24 * 60 + 1):
        now = given.now + timedelta(minutes=minute)
        hour = now.replace(minute=0)
        if minute == 0 or now == hour:
            inside = sum((v for k, v in buckets.items() if k >= hour - 24 * HOUR), Fraction(0))
        if met is None and inside >= room_for:
            met = minute
        more = min(pace, max(room_for - inside, Fraction(0)))
        if met is None and minute < 24 * 60 and more < pace:
            met = minute + 1  # within this minute
        buckets[hour] = buckets.get(hour, Fraction(0)) + more
        inside += more
        if now < midnight:
            day += more
    return met, day


amounts = st.decimals(0, 5, places=3)


@settings(deadline=None, max_examples=50)
@given(
    spent=st.dictionaries(st.integers(0, 24), amounts, max_size=12),
    limit=st.decimals(0, 40, places=2),
    reserved=amounts,
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    hours=st.integers(1, 24),
)
def test_it_agrees_with_a_slower_count(
    spent: dict[int, Decimal], limit: Decimal, reserved: Decimal, minute: int, hour: int, hours: int
) -> None:
    now = datetime(2026, 3, 1, hour, minute, tzinfo=UTC)
    given_ = window(
        {ago: str(amount) for ago, amount in spent.items()}, limit=str(limit), reserved=str(reserved), now=now
    )

    found: Forecast = forecast(given_, hours=hours)
    met, day = by_the_minute(given_, hours)

    if found.meets_cap_at is None:
        assert met is None or met >= 24 * 60
    elif met is None:
        assert found.meets_cap_at >= now + 24 * HOUR - timedelta(seconds=1)
    else:
        assert abs((found.meets_cap_at - now) / timedelta(minutes=1) - met) <= 1.001
    assert abs(Fraction(found.day_usd) - day) <= Fraction(1, 1_000_000)
