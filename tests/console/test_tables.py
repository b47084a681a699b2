"""Tables fit their terminal, and break neither ids nor figures."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.terminal.output import make_printable
from console.terminal.tables import MOST_LINES, Layout, cards, table, unbroken, wrap

ID = str(UUID("01a20ca4-cb10-708b-97d0-a0022f528f85"))
COLUMNS = ["id", "who", "what happened", "cost USD", "empty"]
ROWS = [[ID, "Ada", "it was answered", "0.000123", ""], [ID, "José Ω", "", "12345.678901", ""]]


def shown(layout: Layout) -> list[str]:
    return [line.strong + line.plain for line in layout.lines]


def test_without_a_width_every_row_is_one_line_and_holds_everything() -> None:
    long = "word " * 5000 + "end"
    lines = shown(table([*COLUMNS, "long"], [[*row, long] for row in ROWS], width=None, to_right=["cost USD"]))

    assert len(lines) == 2 + len(ROWS)
    assert lines[2].startswith(f"{ID}  Ada     it was answered      0.000123") and lines[2].endswith(long)
    assert "empty" in lines[0]


def test_what_fits_is_a_table_of_all_columns() -> None:
    layout = table(COLUMNS, ROWS, width=90, to_right=["cost USD"])

    assert shown(layout) == shown(table(COLUMNS, ROWS, width=None, to_right=["cost USD"]))
    assert not layout.left_out


def test_empty_columns_go_first_then_texts_wrap_then_spare_columns_go() -> None:
    without_empty = table(COLUMNS, ROWS, width=76, to_right=["cost USD"], spare=["who"])
    wrapping = table(COLUMNS, ROWS, width=68, to_right=["cost USD"], spare=["who"])
    spared = table(COLUMNS, ROWS, width=60, to_right=["cost USD"], spare=["who"])

    assert "empty" not in shown(without_empty)[0] and "what happened" in shown(without_empty)[0]
    assert not without_empty.left_out and not wrapping.left_out
    assert [line.split() for line in shown(wrapping)[3:5]] == [[ID, "Ada", "it", "was", "0.000123"], ["answered"]]
    assert spared.left_out == ["who"]
    assert ID in shown(spared)[3]


def test_what_does_not_fit_is_a_card_a_row() -> None:
    lines = shown(table(COLUMNS, ROWS, width=52, to_right=["cost USD"], spare=["who"]))

    assert lines == [
        f"id             {ID}",
        "who            Ada",
        "what happened  it was answered",
        "cost USD       0.000123",
        "",
        f"id             {ID}",
        "who            José Ω",
        "cost USD       12345.678901",
    ]


def test_a_row_that_would_be_too_high_is_a_card() -> None:
    rows = [[ID, "ten words that are long enough to take many lines " * 2]]

    lines = shown(table(["id", "detail"], rows, width=50))

    assert lines[0] == f"id      {ID}"
    assert lines[1].startswith("detail  ten words") and len(lines) == MOST_LINES


def test_wide_letters_are_counted_by_their_cells() -> None:
    lines = shown(table(["name", "n"], [["中文", "1"], ["e\u0301", "2"], ["👩‍👧", "3"]], width=None, to_right=["n"]))

    assert {cell_len(line) for line in lines} == {cell_len("中文  1")}


@pytest.mark.parametrize("width", [20, 80, 120])
@given(
    rows=st.lists(
        st.tuples(st.text(max_size=60), st.text("ab 中", max_size=200), st.decimals(allow_nan=False, places=6)),
        max_size=4,
    )
)
def test_nothing_is_lost_or_broken_at_any_width(width: int, rows: list[tuple[str, str, object]]) -> None:
    cells = [[make_printable(one).replace("\n", " ").replace("\t", " ") for one in map(str, row)] for row in rows]

    lines = shown(table(["id", "words", "USD"], cells, width=width, to_right=["USD"]))

    text = " ".join(lines)
    for row in cells:
        for cell in row:
            for word in cell.split():
                assert word in text
    longest = max((cell_len(word) for row in cells for one in row for word in one.split(" ")), default=0)
    for line in lines:
        assert cell_len(line) <= max(width, longest + len("words  "))


def test_a_text_wraps_at_blanks_alone() -> None:
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap(f"see {ID} there", 10) == ["see", ID, "there"]
    assert wrap(unbroken("2026-01-02 03:04:05"), 10) == [unbroken("2026-01-02 03:04:05")]
    assert wrap("", 5) == [""]
    assert wrap("one two", None) == ["one two"]


def test_a_card_leaves_out_what_is_not_there() -> None:
    assert shown(cards(["a", "long name"], [["1", ""], ["", "2"]], width=80)) == ["a          1", "", "long name  2"]
