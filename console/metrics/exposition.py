"""The text format that Prometheus reads (version 0.0.4). Pure: a snapshot in, text out."""

from __future__ import annotations

from console.metrics.catalogue import METRICS
from storage.fleet.metrics import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(now: Snapshot) -> str:
    """Every metric with its help, its kind and its samples."""
    lines = []
    for metric in METRICS:
        lines += [f"# HELP {metric.name} {metric.about}", f"# TYPE {metric.name} {metric.kind}"]
        for values, figure in metric.read(now):
            labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(metric.labels, values, strict=True))
            lines.append(f"{metric.name}{f'{{{labels}}}' if labels else ''} {figure:.15g}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
