"""``headrace migrate``: schema, features, lanes, default prompts and prices of this release."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from console.output import Json, print_json
from console.provisioning import Provisioned, provision
from console.reach import DATABASE, reach
from settings import Settings, plain
from storage.session import OWNER, translated
from workers.logs import configure_logs


def migrate(as_json: Json = False) -> None:
    """Bring the database up to this release.

    That is the schema, and what the release brings along: features, lanes, prompts, prices. Safe to repeat and to race.
    """
    settings = Settings()
    with _owner_url(settings) as url:
        done = run(settings, url)
    if as_json:
        print_json(
            {
                "applied": done.migrated.applied,
                "functions": done.migrated.functions,
                "prompts_published": done.prompts_published,
                "prices_added": done.prices_added,
            }
        )
        return
    for name in done.migrated.applied:
        typer.echo(f"applied {name}")
    if not done.migrated.applied:
        typer.echo("The schema was up to date.")
    typer.echo(
        f"{done.migrated.functions} files of functions, {done.prompts_published} new prompt versions, "
        f"{done.prices_added} new prices."
    )


def run(settings: Settings, owner_url: str) -> Provisioned:
    """Migrate and provision the database behind the owner's URL."""
    with translated(owner_url, setting=OWNER):
        return provision(
            owner_url,
            lanes=settings.lane_weights,
            routing_policy=settings.routing_policy,
            prompts_dir=settings.prompts_dir,
        )


@contextmanager
def _owner_url(settings: Settings) -> Iterator[str]:
    owner_url = plain(settings.owner_database_url)
    if owner_url is not None and settings.database_url is None:  # where one deploys, nothing else need be known
        configure_logs(settings)
        yield owner_url
        return
    with reach(settings, DATABASE, prepare=lambda _owner_url: None) as services:
        yield services.require_owner()
