"""``headrace migrate``: schema, features, lanes, default prompts and prices of this release."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import typer

from console.connect import DATABASE, connect
from console.processes.logs import configure_logs
from console.provisioning import Provisioned, provision
from console.terminal.output import Json, cell, make_printable, print_json
from settings import Settings, reveal
from storage.catalogue.prompts import Published
from storage.db.session import OWNER, translate_errors


def migrate(as_json: Json = False) -> None:
    """Migrate the database to this release.

    This brings the schema up to date, and the features, lanes, prompts and prices of the release. It is safe to repeat,
    and safe to run twice at the same time.
    """
    settings = Settings()
    with _owner_url(settings) as url:
        done = run(settings, url)
    if as_json:
        print_json(_document(done))
        return
    for name in done.migrated.applied:
        typer.echo(f"applied {name}")
    if not done.migrated.applied:
        typer.echo("The schema was up to date.")
    lines = list(_published(done))
    for line in lines or ["Nothing new was published."]:
        typer.echo(make_printable(line))
    for prompt in done.prompts:
        if prompt.active != prompt.version:
            typer.echo(
                f"prompt {prompt.name}: version {prompt.active} stays active, where an operator put it; "
                f"the file has the text of version {prompt.version}"
            )
    prompts = sum(one.is_new for one in done.prompts)
    typer.echo(
        f"{done.migrated.functions} files of functions, {prompts} new prompt versions, {len(done.prices)} new prices."
    )


def run(settings: Settings, owner_url: str) -> Provisioned:
    """Migrate and provision the database behind the owner's URL."""
    with translate_errors(owner_url, setting=OWNER):
        return provision(
            owner_url,
            lanes=settings.lane_weights,
            routing_policy=settings.routing_policy,
            prompts_dir=settings.prompts_dir,
        )


@contextmanager
def _owner_url(settings: Settings) -> Iterator[str]:
    owner_url = reveal(settings.owner_database_url)
    if owner_url is not None and settings.database_url is None:  # the deploying shell need not know any other service
        configure_logs(settings)
        yield owner_url
        return
    with connect(settings, DATABASE, prepare=lambda _owner_url: None) as services:
        yield services.require_owner()


def _document(done: Provisioned) -> dict[str, Any]:
    return {
        "applied": done.migrated.applied,
        "functions": done.migrated.functions,
        "features_added": done.features.added,
        "features_retired": done.features.retired,
        "features_changed": {name: after for name, (_, after) in done.features.changed.items()},
        "lanes_added": done.lanes.added,
        "lanes_retired": done.lanes.retired,
        "lanes_changed": {name: after for name, (_, after) in done.lanes.changed.items()},
        "prompts": [asdict(one) for one in done.prompts],
        "prompts_published": sum(one.is_new for one in done.prompts),
        "prices": [
            {"provider": one.row.provider, "model": one.row.model, "effective_from": one.row.effective_from}
            for one in done.prices
        ],
        "prices_added": len(done.prices),
    }


def _published(done: Provisioned) -> Iterator[str]:
    """A line for each thing that is new, or no longer there."""
    for kind, named, figure in (
        ("feature", done.features, "requests a minute of each user"),
        ("lane", done.lanes, "weight"),
    ):
        for name in named.added:
            value = named.after[name]
            yield f"{kind} {name}: new" + (f", {figure} {value}" if value is not None else "")
        for name in named.retired:
            yield f"{kind} {name}: retired; jobs cannot name it any more"
        for name, (before, after) in named.changed.items():
            yield f"{kind} {name}: {figure} {_or_none(after)} (before: {_or_none(before)})"
    for prompt in done.prompts:
        yield from _told(prompt)
    for change in done.prices:
        row = change.row
        yield f"price {row.provider}:{row.model}: new from {cell(row.effective_from)} UTC"


def _told(prompt: Published) -> Iterator[str]:
    before = f" (before: version {prompt.was})" if prompt.was not in (None, prompt.active) else ""
    if prompt.is_new:
        yield f"prompt {prompt.name}: version {prompt.version} is new and active{before}"
    elif before:
        yield f"prompt {prompt.name}: the file has the text of version {prompt.active} again, which is active{before}"


def _or_none(value: int | None) -> str:
    return "none" if value is None else str(value)
