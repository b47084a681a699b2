"""The schedules that the suite plays, and for how long."""

from __future__ import annotations

SEEDS = (27, 45, 46, 64, 76)
SHORT_S = 6.0
