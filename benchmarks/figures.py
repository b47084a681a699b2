"""Figures that benchmarks keep for :mod:`benchmarks.plots`: JSON lines, one a bar."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart: what was measured, in one run or several."""

    chart: str  # a name that benchmarks.plots knows
    bar: str
    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return statistics.median(self.values)


def keep(file: str | None, chart: str, bar: str, values: Sequence[float]) -> None:
    """Append a bar to a file; nothing without a file."""
    if file is None:
        return
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(Bar(chart, bar, tuple(values)))) + "\n")


def merged(lines: Iterable[str]) -> dict[str, list[Bar]]:
    """Charts with their bars in the order of their first line; what several runs found of one bar lies together."""
    found: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        if line.strip():
            row = json.loads(line)
            found.setdefault((row["chart"], row["bar"]), []).extend(map(float, row["values"]))
    charts: dict[str, list[Bar]] = {}
    for (chart, bar), values in found.items():
        charts.setdefault(chart, []).append(Bar(chart, bar, tuple(values)))
    return charts
