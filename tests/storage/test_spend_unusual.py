"""What a history makes of a day."""

from __future__ import annotations

from decimal import Decimal

import pytest

from storage.money.spend_unusual import usual_spend


def history(*amounts: str | int) -> list[Decimal]:
    return [Decimal(amount) for amount in amounts]


@pytest.mark.parametrize("short", [(), (5,), (5, 5)])
def test_two_days_are_no_history(short: tuple[int, ...]) -> None:
    assert usual_spend(history(*short)) is None


def test_an_even_history_allows_four_times_its_median() -> None:
    found = usual_spend(history(2, 2, 2, 2))

    assert found is not None
    assert (found.days, found.median_usd, found.bound_usd) == (4, 2, 8)


def test_one_odd_day_in_the_past_moves_the_swing_and_not_the_median() -> None:
    found = usual_spend(history(1, 1, 1, 1, 1, 1, 50))

    assert found is not None
    assert found.median_usd == 1
    assert found.bound_usd == Decimal("63.560778")  # the mean is 8, the standard deviation 49 / √7: 8 + 3 × 18.520259


def test_a_wide_swing_allows_more_than_four_times_the_median() -> None:
    found = usual_spend(history(1, 9, 1, 9, 1))

    assert found is not None
    assert (found.median_usd, found.bound_usd) == (1, Decimal("17.345341"))  # 4.2 + 3 × √19.2


def test_up_to_a_dollar_nothing_is_unusual() -> None:
    found = usual_spend(history("0.01", "0.01", "0.01"))

    assert found is not None
    assert found.bound_usd == 1


def test_only_the_last_fourteen_days_count() -> None:
    found = usual_spend(history(*[100] * 10, *[2] * 14))

    assert found is not None
    assert (found.days, found.bound_usd) == (14, 8)
