"""What benchmarks keep for the plots, and how their figures are counted. Nothing is measured here."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import Bar, keep, merged
from benchmarks.peers.lineup import in_turns, p99, ranged
from benchmarks.plots import CHARTS, draw


def test_runs_of_one_bar_lie_together_and_charts_keep_their_order(tmp_path: Path) -> None:
    file = str(tmp_path / "new" / "figures.jsonl")
    keep(file, "growth", "tenants", [1.0, 1.2])
    keep(file, "consume", "celery", [0.2])
    keep(file, "growth", "backlog", [1.1])
    keep(file, "growth", "tenants", [1.1])
    keep(None, "growth", "lost", [9.9])

    charts = merged(Path(file).read_text("utf-8").splitlines())

    assert list(charts) == ["growth", "consume"]
    assert charts["growth"] == [Bar("growth", "tenants", (1.0, 1.2, 1.1)), Bar("growth", "backlog", (1.1,))]
    assert charts["growth"][0].middle == 1.1


def test_a_chart_that_nobody_described_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no chart is called 'speed'.*growth"):
        draw("speed", [], tmp_path)


def test_every_plot_in_the_docs_is_one_that_the_plots_know() -> None:
    images = {file.stem for file in (Path(__file__).parents[2] / "docs" / "img").glob("*.svg")}
    assert images
    assert images <= set(CHARTS)


def test_p99_is_passed_by_one_in_a_hundred() -> None:
    assert p99(range(200)) == 198
    assert p99([7.0]) == 7.0
    assert ranged([3, 1, 2000]) == "3 (1 to 2,000)"


class _Side:
    def __init__(self, name: str, emptied: list[str]) -> None:
        self.name, self._emptied = name, emptied

    def empty(self) -> None:
        self._emptied.append(self.name)


def test_sides_are_measured_in_turns_forth_and_back_and_left_empty() -> None:
    emptied: list[str] = []
    both = [_Side("ours", emptied), _Side("theirs", emptied)]
    order = iter(range(10))

    found = in_turns(both, 3, lambda side: float(next(order)))  # type: ignore[arg-type]

    assert found == {"ours": [0.0, 3.0, 4.0], "theirs": [1.0, 2.0, 5.0]}
    assert emptied == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
