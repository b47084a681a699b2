"""What people and programs get to see of a value."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from console.terminal.output import cell, make_printable, to_json
from storage.jobs.jobs import State

ID = UUID("01a20ca4-cb10-708b-97d0-a0022f528f85")


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (Decimal("0.1") + Decimal("0.2"), "0.3"),
        (Decimal("1E-18"), "0.000000000000000001"),
        (Decimal("1E+3"), "1000"),
        (Decimal("5.00"), "5.00"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006Z"),
        (date(2026, 1, 2), "2026-01-02"),
        (ID, str(ID)),
        (State.QUEUED, "queued"),
    ],
)
def test_programs_get_values_exactly(value: object, seen: str) -> None:
    assert json.loads(to_json({"value": value})) == {"value": seen}


def test_what_is_no_value_of_ours_is_a_bug_and_not_shown_as_text() -> None:
    with pytest.raises(TypeError, match="object"):
        to_json({"value": object()})


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (None, ""),
        (True, "yes"),
        (0, "0"),
        (Decimal("0.0000005"), "0.000000"),
        (Decimal("1234.5678915"), "1234.567892"),
        (datetime(2026, 1, 2, 0, 30, tzinfo=timezone(timedelta(hours=2))), "2026-01-01 22:30:00"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
    ],
)
def test_people_get_values_they_can_read(value: object, seen: str) -> None:
    assert cell(value) == seen


def test_nothing_that_could_steer_a_terminal_gets_through() -> None:
    assert make_printable("a\x1b[2J\x07\r\u202eb\n\tc") == "a�[2J���b\n\tc"


def test_blanks_of_all_widths_are_blanks_and_the_parts_of_an_emoji_stay_together() -> None:
    assert make_printable("a\u00a0b\u3000c") == "a b c"
    assert make_printable("👩\u200d👧 \u200d a\u200db") == "👩\u200d👧 � a�b"
    assert make_printable("Zoë e\u0301 ❤\ufe0f") == "Zoë e\u0301 ❤\ufe0f"
    assert make_printable("\udcff\ud800") == "��"
