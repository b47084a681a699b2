"""``headrace doctor``: which services are used, what is wrong with them, how to fix it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from console.connect import DATABASE_AND_WIRE, connect
from console.doctor.checkup import examine
from console.doctor.finding import Finding
from console.doctor.promises import examine_promises
from console.terminal.output import Json, make_printable, print_json, say_wrapped
from settings import Settings

_STYLES = {"ok": "green", "note": "yellow", "wrong": "bold red"}


def doctor(
    audit: Annotated[bool, typer.Option("--audit", help="Check every promise on the live data instead.")] = False,
    as_json: Json = False,
) -> None:
    """Check every service and say how to fix what is wrong.

    Exits 1 when something is wrong; with --audit, when a promise is broken.
    """
    settings = Settings()
    with connect(settings, DATABASE_AND_WIRE) as services:  # a problem of a provider is a finding
        findings = list(examine_promises(settings, services) if audit else examine(settings, services))
    fine = all(finding.verdict != "wrong" for finding in findings)
    if as_json:
        print_json({"ok": fine, "findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    raise typer.Exit(0 if fine else 1)


def _show(findings: list[Finding]) -> None:
    for finding in findings:
        line = Text(f"{finding.verdict:<6}", style=_STYLES[finding.verdict])
        line.append(f"{finding.part}: ", style="bold not red").append(
            make_printable(finding.says), style="not bold default"
        )
        say_wrapped(line, indent=6)
        if finding.to_do is not None:
            say_wrapped(Text(f"      → {make_printable(finding.to_do)}"), indent=8)
