"""``headrace jobs``: enqueue from a file, list, show, explain, export, cancel, retry."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from console.actor import actor
from console.bulk import filters
from console.bulk import run as bulk
from console.bulk.filters import Filters
from console.bulk.lines import FileFormat
from console.bulk.run import JobChoice
from console.composition import wire_from
from console.connect import DATABASE, DATABASE_AND_WIRE, connect
from console.doctor.wire_trial import why_no_offers
from console.endpoints import Endpoints
from console.enqueue_file import quotes, report
from console.enqueue_file.intake import LineOutcome, Quoted
from console.enqueue_file.report import Report
from console.enqueue_file.run import enqueue, only, opened, quote
from console.job_ids import whole_id
from console.terminal import waiting
from console.terminal.output import Json, cell, count_of, make_printable, note, print_facts, print_json, print_table
from errors import InvalidInputError, NotFoundError, ServiceError
from settings import Settings
from storage.db.ids import new_id
from storage.db.session import operator_session
from storage.jobs import jobs, why
from storage.jobs.jobs import AskedAgain, JobView, State
from storage.jobs.why import Explanation

app = typer.Typer(help="Enqueue, list, explain, export, cancel and retry jobs.", no_args_is_help=True)

_LISTED = (
    "id", "tenant", "user_id", "feature", "lane", "state", "reason", "attempts", "created_at", "ended_at",
)  # fmt: skip

JOB_ID = "The job's id, or its first digits: eight or more."

SOME_REFUSED = 3
NONE_IN = 1


@app.command("enqueue")
def enqueue_command(
    files: Annotated[list[Path], typer.Option("--file", help="JSON lines: one job a line. - reads standard input.")],
    tenant: Annotated[str | None, typer.Option(help="The tenant of all lines: its id, external id or name.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Enqueue nothing: print what each job would cost and whether it would run."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Enqueue one job for each line of a file, with the fields of enqueue; print the ids, in the lines' order.

    Valid lines are enqueued, invalid lines are reported. Exits 0 when all lines were enqueued, 3 when some were
    refused, 1 when none was enqueued. Ctrl-C finishes the lines under way and says how far the run came.
    """
    settings = Settings()
    told: Report[list[LineOutcome]] | Report[list[Quoted]]
    with opened(only(files)) as stream, connect(settings, DATABASE_AND_WIRE) as services:
        if dry_run:
            told = quotes.QuotesForPrograms() if as_json else quotes.QuotesForPeople()
            stopped = quote(settings, services, stream, tenant=tenant, report=told)
        else:
            told = report.ForPrograms() if as_json else report.ForPeople()
            stopped = enqueue(settings, services, stream, tenant=tenant, report=told)
    if stopped is not None:
        raise typer.Exit(stopped)
    if told.refused:
        raise typer.Exit(SOME_REFUSED if told.taken else NONE_IN)


@app.command("list")
def list_command(
    tenant: filters.Tenant = None,
    state: filters.States = None,
    feature: filters.Feature = None,
    user: filters.User = None,
    lane: filters.Lane = None,
    since: filters.Since = None,
    until: filters.Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most jobs to list.")] = 20,
    as_json: Json = False,
) -> None:
    """List the newest jobs, newest first."""
    given = Filters(tenant=tenant, states=state, feature=feature, user=user, lane=lane, since=since, until=until)
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        found = jobs.list_jobs(connection, given.selection(connection), limit=limit)
    if as_json:
        print_json({"jobs": found})
        return
    print_table(
        ["id", "tenant", "user", "feature", "lane", "state", "reason", "attempts", "created (UTC)", "ended (UTC)"],
        [[_listed(job, name) for name in _LISTED] for job in found],
        numbers=["attempts"],
        spare=["ended (UTC)", "lane", "attempts", "created (UTC)", "reason", "tenant"],
    )
    if not found:
        note("No job fits." if given.narrows else "There are no jobs.")


@app.command("show")
def show_command(job_id: Annotated[str, typer.Argument(metavar="ID", help=JOB_ID)], as_json: Json = False) -> None:
    """Show one job: its state, answer or error, cost, and all its events."""
    with connect(Settings(), DATABASE) as services:
        job, timeline = show(services.require_ops(), whole_id(services.require_ops(), job_id))
    if as_json:
        print_json({**asdict(job), "timeline": timeline})
        return
    facts = asdict(job)
    error, output, output_json = facts.pop("error"), facts.pop("output"), facts.pop("output_json")
    cost, unreadable = facts.pop("cost_usd"), facts.pop("unreadable")
    facts["simulated"] = facts["simulated"] or None  # a line is printed only where it applies
    print_facts(
        {
            **facts,
            "unreadable": unreadable or None,
            "cost_usd": f"{cost:f}",
            "error": None if error is None else error.get("message"),
        }
    )
    if output is not None:
        shown = output if output_json is None else json.dumps(output_json, indent=2, ensure_ascii=False)
        typer.echo(f"\n{make_printable(shown)}\n")
    print_table(
        ["at (UTC)", "what", "detail"],
        [(_instant(entry["at"]), entry["what"], _detail(entry["detail"])) for entry in timeline],
        numbers=["at (UTC)"],
    )


@app.command("why")
def why_command(job_id: Annotated[str, typer.Argument(metavar="ID", help=JOB_ID)], as_json: Json = False) -> None:
    """Say the one reason why a job waits, and when it is likely to start."""
    settings = Settings()
    with connect(settings, DATABASE) as services:
        told = explain(settings, services, whole_id(services.require_ops(), job_id))
    if as_json:
        print_json(asdict(told))
        return
    print_facts(
        {
            "state": told.state,
            "why": waiting.sentence(told),
            "starts": waiting.start(told),
            "deadline": told.deadline,
            "workers": f"{told.running} of {count_of(told.threads, 'thread')} of "
            f"{count_of(told.workers, 'process', 'processes')} run a job",
            "schedulers": f"{told.schedulers} live",
        }
    )


@app.command("results")
def results_command(
    tenant: filters.Tenant = None,
    state: filters.States = None,
    feature: filters.Feature = None,
    user: filters.User = None,
    lane: filters.Lane = None,
    since: filters.Since = None,
    until: filters.Until = None,
    ids: filters.Ids = None,
    everything: filters.Everything = False,
    form: Annotated[FileFormat, typer.Option("--format", help="JSON lines, or CSV.")] = FileFormat.JSONL,
    output: Annotated[
        Path | None,
        typer.Option(help="Write to this file, which appears whole or not at all. Default: standard output."),
    ] = None,
    after: Annotated[UUID | None, typer.Option(help="Go on after this job, the last one that was written.")] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the summary in JSON: on standard error where the results are on output."),
    ] = False,
) -> None:
    """Write the results of jobs, one line a job, oldest first: JSON lines or CSV.

    Jobs that have not ended are left out unless their state is asked for. Exits 3 when an id of the file belongs to no
    job.
    """
    given = Filters(tenant=tenant, states=state, feature=feature, user=user, lane=lane, since=since, until=until)
    raise typer.Exit(
        bulk.results(JobChoice(given, ids, everything), output=output, form=form, after=after, as_json=as_json)
    )


@app.command("cancel")
def cancel_command(
    job_id: filters.OneId = None,
    tenant: filters.Tenant = None,
    state: filters.States = None,
    feature: filters.Feature = None,
    user: filters.User = None,
    lane: filters.Lane = None,
    since: filters.Since = None,
    until: filters.Until = None,
    ids: filters.Ids = None,
    everything: filters.Everything = False,
    yes: filters.Yes = False,
    as_json: Json = False,
) -> None:
    """Cancel a job, or all that fit the filters.

    A waiting job ends at once. A running job ends at its worker's next step, and the call under way is paid. Exits 1
    when the job had already ended in another way. With filters, the number of jobs is shown first.
    """
    given = Filters(tenant=tenant, states=state, feature=feature, user=user, lane=lane, since=since, until=until)
    if job_id is None:
        raise typer.Exit(bulk.cancel(JobChoice(given, ids, everything), yes=yes, as_json=as_json))
    given.refuse_beside_id(ids=ids, everything=everything)
    with connect(Settings(), DATABASE) as services:
        job_id = whole_id(services.require_ops(), job_id)
        ended = cancel(services.require_ops(), job_id)
    if as_json:
        print_json({"id": job_id, "state": ended})
    else:
        typer.echo(f"{job_id} {ended}")
    raise typer.Exit(0 if ended in ("cancelled", "cancelling") else 1)


@app.command("retry")
def retry_command(
    job_id: filters.OneId = None,
    tenant: filters.Tenant = None,
    state: filters.States = None,
    feature: filters.Feature = None,
    user: filters.User = None,
    lane: filters.Lane = None,
    since: filters.Since = None,
    until: filters.Until = None,
    ids: filters.Ids = None,
    everything: filters.Everything = False,
    yes: filters.Yes = False,
    as_json: Json = False,
) -> None:
    """Retry a job that ended without an answer, or all that fit the filters; print the new ids.

    Each job is retried once, as a new job: an ended job never changes. Filters without a state choose failed jobs; a
    file of ids chooses all that ended without an answer. With filters, the number of jobs is shown first.
    """
    given = Filters(tenant=tenant, states=state, feature=feature, user=user, lane=lane, since=since, until=until)
    if job_id is None:
        raise typer.Exit(bulk.run_again(JobChoice(given, ids, everything), yes=yes, as_json=as_json))
    given.refuse_beside_id(ids=ids, everything=everything)
    settings = Settings()
    with connect(settings, DATABASE_AND_WIRE) as services:
        job_id = whole_id(services.require_ops(), job_id)
        again, now = run_again(settings, services, job_id)
    if as_json:
        print_json({"id": again.job_id, "repeats": job_id, "created": again.created, "state": now})
        return
    typer.echo(str(again.job_id))
    if not again.created:
        note(f"{job_id} was retried before, as this job: it is {now}")


def explain(settings: Settings, services: Endpoints, job_id: str) -> Explanation:
    """Why a job waits. For a queued job, the wire is tried too.

    :raises InvalidInputError: this is not an id.
    :raises NotFoundError: there is no such job.
    """
    wanted = _id(job_id)
    with operator_session(services.require_ops()) as connection:
        told = why.explain(connection, wanted, silent_s=settings.worker_silent_s)
        if told is not None and told.state == "queued" and (error := why_no_offers(settings, services)) is not None:
            told = why.explain(connection, wanted, silent_s=settings.worker_silent_s, wire_error=error)
    if told is None:
        raise NotFoundError("no such job", field="id", value=job_id)
    return told


def cancel(ops_url: str, job_id: str) -> str:
    """Cancel a job: ``cancelled``, ``cancelling`` or the ending that it had already.

    :raises NotFoundError: there is no such job.
    """
    job, _ = show(ops_url, job_id)
    with operator_session(ops_url) as connection:
        return jobs.cancel(connection, job.tenant_id, job.id, by=actor()) or job.state


def run_again(settings: Settings, services: Endpoints, job_id: str) -> tuple[AskedAgain, State]:
    """Retry an ended job, once: the new job, made now or by an earlier retry, and its state.

    :raises NotFoundError: there is no such job.
    :raises InvalidInputError: it has not ended, or it succeeded.
    """
    job, _ = show(services.require_ops(), job_id)
    again = new_id()
    with operator_session(services.require_ops()) as connection:
        done = jobs.run_again(connection, job.tenant_id, job.id, again, by=actor())
        if done is None:
            raise InvalidInputError(
                f"is {job.state}: only a job that ended without an answer can be retried", field="id", value=job_id
            )
        now = jobs.show(connection, done.job_id, tenant_id=job.tenant_id)
    wire = wire_from(settings, services)
    with contextlib.suppress(ServiceError):  # a hint: the sweep finds the job within a second
        wire.offer(done.lane, str(job.tenant_id))
    wire.close()
    return done, State.QUEUED if now is None else now.state


def show(ops_url: str, job_id: str) -> tuple[JobView, list[dict[str, Any]]]:
    """A job and its events.

    :raises InvalidInputError: this is not an id.
    :raises NotFoundError: there is no such job.
    """
    wanted = _id(job_id)
    with operator_session(ops_url) as connection:
        found = jobs.show(connection, wanted)
        if found is None:
            raise NotFoundError("no such job", field="id", value=job_id)
        return found, jobs.history(connection, wanted, tenant_id=found.tenant_id)


def _listed(job: Mapping[str, Any], name: str) -> object:
    """A cell of the list. The reason of a dead letter says when the job was retried."""
    if name == "reason" and job["asked_again_as"] is not None:
        return f"{job['reason'] or ''} (retried)".lstrip()
    return job[name]


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInputError("is not a job's id", field="id", value=text) from None


def _instant(at: Any) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _detail(detail: Any) -> str:
    return ", ".join(f"{name}={cell(value)}" for name, value in (detail or {}).items())
