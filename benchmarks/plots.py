"""Small plots of what the benchmarks found: one SVG a chart, in docs/img/.

    python -m benchmarks.peers.start_latency --json build/figures.jsonl
    python -m benchmarks.plots build/figures.jsonl [more files] [--into docs/img]

A bar is the median of what its lines say, its whisker the least and the most, so several runs may lie in one file. The
same figures give the same file, byte for byte: nothing of the machine or the day is in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Bar, merged
from benchmarks.peers.missing import told_what_to_install


@dataclass(frozen=True, slots=True)
class Chart:
    """How a chart is drawn. The mark is a line across the bars: the goal, or where both sides are even."""

    title: str
    axis: str
    mark: float | None = None
    marked: str = "goal"
    logarithmic: bool = False


CHARTS = {
    "start-latency": Chart(
        "Idle start, enqueue call to start: median, ours ÷ theirs", "ratio (less is better)", 1, "even",
        logarithmic=True,
    ),
    "start-latency-p99": Chart(
        "Idle start, enqueue call to start: p99 of a round", "ms (less is better)", 25, logarithmic=True
    ),
    "enqueue-one": Chart(
        "Enqueue one by one, jobs/s, ours (durable) ÷ theirs (not)", "ratio (more is better)", 1, "even"
    ),
    "consume": Chart("No-op jobs/s, ours ÷ theirs (ours does far more a job)", "ratio (more is better)", 1, "even"),
    "noisy-neighbour": Chart(
        "Quiet tenants' p99 wait, beside a flood (of so many) ÷ without", "ratio (less is better)", 1.5,
        logarithmic=True,
    ),
    "growth": Chart("CPU a job, big ÷ small", "ratio (less is better)", 1.2),
}  # fmt: skip

_STYLE = {
    "svg.hashsalt": "headrace", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.titleweight": "bold",
}  # fmt: skip
_OURS, _THEIRS, _MARK = "#2a6f97", "#a9b4bd", "#c1121f"
_NOTHING_ABOUT_THE_RUN = {"Date": None, "Creator": None}


def draw(name: str, bars: Sequence[Bar], into: Path) -> Path:
    """Draw one chart; the file. Exits kindly for a chart that has no description or without matplotlib."""
    if name not in CHARTS:
        raise SystemExit(f"no chart is called {name!r}; benchmarks/plots.py knows {', '.join(sorted(CHARTS))}")
    with told_what_to_install():
        import matplotlib as mpl
        from matplotlib.figure import Figure
    chart = CHARTS[name]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 1.1 + 0.42 * len(bars)), layout="constrained")
        axes = figure.subplots()
        middles = [one.middle for one in bars]
        whiskers = [[one.middle - min(one.values) for one in bars], [max(one.values) - one.middle for one in bars]]
        mixed = any(one.bar.startswith("headrace") for one in bars)  # both sides in one chart
        colours = [_OURS if not mixed or one.bar.startswith("headrace") else _THEIRS for one in bars]
        axes.barh(
            range(len(bars)), middles, height=0.62, xerr=whiskers, color=colours,
            error_kw={"ecolor": "#333333", "elinewidth": 1, "capsize": 3},
        )  # fmt: skip
        if chart.logarithmic:
            axes.set_xscale("log")
        for place, one in enumerate(bars):
            axes.annotate(
                f"{one.middle:,.{2 if one.middle < 10 else 0}f}", (max(one.values), place),
                xytext=(6, 0), textcoords="offset points", va="center",
            )  # fmt: skip
        if chart.mark is not None:
            axes.axvline(
                chart.mark, color=_MARK, linewidth=1.2, linestyle="--", label=f"{chart.marked}: {chart.mark:g}"
            )
            figure.legend(loc="outside lower right", frameon=False, fontsize=8)
        axes.set_yticks(range(len(bars)), [one.bar for one in bars])
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xlabel(chart.axis)
        figure.suptitle(chart.title, fontsize=10, fontweight="bold")
        file = into / f"{name}.svg"
        into.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, metadata=_NOTHING_ABOUT_THE_RUN)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="what benchmarks wrote with --json")
    parser.add_argument("--into", type=Path, default=Path("docs/img"), help="where the SVGs go (docs/img)")
    given = parser.parse_args()
    lines = [line for file in given.files for line in file.read_text("utf-8").splitlines()]
    for name, bars in merged(lines).items():
        print(draw(name, bars, given.into))


if __name__ == "__main__":
    main()
