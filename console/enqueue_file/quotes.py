"""The report of a dry run: a line a job and a total for people, one JSON document for programs."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import fields
from decimal import Decimal
from typing import Any

import typer

from console.enqueue_file.intake import Quoted
from console.enqueue_file.report import End, Refusals, Report
from console.terminal.output import cell, make_printable, note, say, to_json, width
from console.terminal.tables import hang
from producers import Quote, Verdict

_WOULD_COST = (Verdict.WOULD_RUN, Verdict.WOULD_WAIT)
_NAMES = tuple(one.name for one in fields(Quote))
_COLUMNS = "{:>6}  {:<6}  {:<14}  {:<28}  {:>14}  {}"
_INDENT = 8  # a cell that does not fit the terminal continues below the tier
_HEAD = _COLUMNS.format("line", "tier", "rule", "model", "worst case USD", "verdict")


class Totals:
    """The total of the quoted jobs that would run at once or later. In USD; each was quoted as if it came alone."""

    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.worst_case_usd = Decimal(0)
        self.dearest_usd = Decimal(0)

    def add(self, quote: Quote) -> None:
        """Add one more quote."""
        self.verdicts[quote.verdict] += 1
        if quote.verdict in _WOULD_COST:
            self.worst_case_usd += quote.worst_case_usd or 0
            self.dearest_usd += quote.dearest_usd or 0


class QuotesForPeople(Report[list[Quoted]]):
    """A line a job on standard output as they come, then the total; a table of refused lines on standard error."""

    def __init__(self) -> None:
        self.taken = 0
        self._totals = Totals()
        self._refusals = Refusals()
        self._width = width()  # of the terminal, if there is one

    @property
    def refused(self) -> int:
        return self._refusals.count

    def add(self, dealt: list[Quoted]) -> None:
        told: list[str] = []
        for one in dealt:
            if one.quote is None:
                self._refusals.add(one.number, one.error)
                continue
            self.taken += 1
            self._totals.add(one.quote)
            told.append(_line(one.number, one.quote))
        if told:
            lines = [_HEAD, *told] if self.taken == len(told) else told
            typer.echo("\n".join(hang(line, self._width, indent=_INDENT) for line in lines))

    def end(self, end: End) -> None:
        if self.taken:
            say(_total(self._totals))
        self._refusals.show()
        if self.refused or (end.is_early and end.after_line):
            self._refusals.sum_up(f"{self.taken} quoted")
        if end.is_early and not end.after_line and end.has_begun:
            note("Stopped: no line was quoted.")
        elif end.is_early and end.after_line:
            note(f"Stopped: the lines up to {end.after_line} were quoted, the others were not.")


class QuotesForPrograms(Report[list[Quoted]]):
    """``{"quotes": [{"line", …}, …], "refused": […], "quoted", "verdicts": {…}, "worst_case_usd", "dearest_usd"}``."""

    def __init__(self) -> None:
        self.taken = 0
        self._totals = Totals()
        self._refusals = Refusals(keep=None)
        typer.echo('{"quotes": [', nl=False)

    @property
    def refused(self) -> int:
        return self._refusals.count

    def add(self, dealt: list[Quoted]) -> None:
        told: list[str] = []
        for one in dealt:
            if one.quote is None:
                self._refusals.add(one.number, one.error)
                continue
            self._totals.add(one.quote)
            told.append(to_json({"line": one.number, **_facts(one.quote)}))
        if told:
            typer.echo((",\n" if self.taken else "\n") + ",\n".join(told), nl=False)
        self.taken += len(told)

    def end(self, end: End) -> None:
        rest: dict[str, Any] = {
            "refused": self._refusals.facts,
            "quoted": self.taken,
            "verdicts": {verdict: self._totals.verdicts[verdict] for verdict in Verdict},
            "worst_case_usd": self._totals.worst_case_usd,
            "dearest_usd": self._totals.dearest_usd,
            **end.facts(),
        }
        typer.echo(f"],\n{to_json(rest)[1:]}")
        sys.stdout.flush()


def _facts(quote: Quote) -> dict[str, Any]:
    """The quote as names and values. Not ``asdict``, which copies each of them and takes longer than the quote does."""
    facts: dict[str, Any] = {name: getattr(quote, name) for name in _NAMES}
    for name in ("primary", "backup"):
        facts[name] = facts[name] and _flat(facts[name])
    for name in ("waits", "caps", "rates"):
        facts[name] = [_flat(one) for one in facts[name]]
    return facts


def _flat(part: Any) -> dict[str, Any]:
    return {name: getattr(part, name) for name in part.__slots__}


def _line(number: int, quote: Quote) -> str:
    model = "-" if quote.primary is None else f"{quote.primary.provider}:{quote.primary.model}"
    cost = "-" if quote.worst_case_usd is None else cell(quote.worst_case_usd)
    return make_printable(
        _COLUMNS.format(number, quote.tier or "-", quote.rule or "-", model, cost, _told(quote)).replace("\n", " ")
    )


def _told(quote: Quote) -> str:
    if quote.error is not None:
        return f"would be rejected: {quote.error['code']}: {quote.error['message']}"
    if quote.verdict is Verdict.WOULD_REPEAT:
        return f"would repeat: its key belongs to job {quote.job_id}"
    if not quote.waits:
        return "would run"
    return "would wait: " + ", ".join(
        " ".join(
            part
            for part in (one.reason, one.waits_for and f"({one.waits_for})", one.until and f"until {cell(one.until)}")
            if part
        )
        for one in quote.waits
    )


def _total(totals: Totals) -> str:
    told = ", ".join(f"{totals.verdicts[one]} {one.replace('_', ' ')}" for one in Verdict if totals.verdicts[one])
    return (
        f"total worst case {cell(totals.worst_case_usd)} USD, with the more expensive of each job's providers "
        f"{cell(totals.dearest_usd)} USD ({told})"
    )
