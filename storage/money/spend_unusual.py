"""When a day's spend is far over somebody's own history. No database, no clock: figures in, a verdict out.

The rule is our own choice. A day is unusual when it is over each of three bounds:

- four times the median of the days before: an ordinary day does not multiply by itself, and one odd day in the past
  does not move a median;
- their mean and three standard deviations (the limit that control charts have drawn since Shewhart): who is used to
  ups and downs, as a weekly batch is, is left alone;
- one dollar: what is cheap is nobody's alarm.

The history is the last fourteen days with spend of the eight weeks before. Fewer than three such days are no history,
and then nothing is unusual: a new user is bounded by its cap.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

FLOOR_USD = Decimal(1)
TIMES_MEDIAN = 4
DEVIATIONS = 3
LEAST_DAYS, MOST_DAYS = 3, 14
LOOK_BACK_DAYS = 56

_MILLIONTH = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Usual:
    """What a history makes of a day: more than ``bound_usd`` is unusual. USD, rounded to a millionth."""

    days: int
    median_usd: Decimal
    bound_usd: Decimal


def usual_spend(history_usd: Sequence[Decimal]) -> Usual | None:
    """What is usual after a history: the spend of days with spend, oldest first. None when it is too short to tell."""
    history = history_usd[-MOST_DAYS:]
    if len(history) < LEAST_DAYS:
        return None
    median = statistics.median(history)
    mean = sum(history, Decimal(0)) / len(history)
    deviation = (sum(((usd - mean) ** 2 for usd in history), Decimal(0)) / (len(history) - 1)).sqrt()
    swing = mean + DEVIATIONS * deviation
    bound = max(TIMES_MEDIAN * median, swing, FLOOR_USD)
    return Usual(len(history), median.quantize(_MILLIONTH), bound.quantize(_MILLIONTH))
