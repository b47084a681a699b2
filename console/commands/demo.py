"""``headrace demo``: the whole product on the input that ships with the project."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Annotated

import typer
from rich.console import Console

from console.connect import child_environment, connect
from console.demo.play import play
from console.endpoints import Endpoints
from console.terminal.output import screen
from errors import ConfigurationError
from settings import Settings

REAL_JOBS = 12  # of each tenant, when a real provider is called
REAL_CAP_USD = Decimal("0.25")  # of each tenant


def demo(
    yes: Annotated[bool, typer.Option("--yes", help="Spend at a real provider without asking first.")] = False,
) -> None:
    """Run the whole product once on the shipped example input and print the owner's report.

    Exits 0 when every job ended and the books agree, 1 when not.
    """
    console = screen(markup=True)
    settings = Settings()
    with connect(settings) as services:
        real = services.simulator_url is None
        if real:
            _ask_first(console, services, yes=yes)
        # the simulated outage is short, so the breaker's pause is short too
        env = {"HEADRACE_BREAKER_RESET_S": "2", **child_environment(services)}
        fine = play(
            console,
            services,
            env,
            settings.dir / "demo",
            real_limit=REAL_JOBS if real else None,
            real_cap_usd=REAL_CAP_USD if real else None,
        )
        if real:
            console.print("The answers came from the real provider, and the spend above is real money.")
    raise typer.Exit(0 if fine else 1)


def _ask_first(console: Console, services: Endpoints, *, yes: bool) -> None:
    names = [
        name
        for name, key in (("OpenAI", services.openai_api_key), ("Anthropic", services.anthropic_api_key))
        if key is not None
    ]
    console.print(
        f"A key of {' and '.join(names)} is set: up to {3 * REAL_JOBS} jobs will call the real provider. "
        f"Each of the three tenants is capped at ${REAL_CAP_USD}, so at most ${3 * REAL_CAP_USD} can be spent; "
        "a few cents are likely."
    )
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "a real provider's key is set, and there is no terminal on which to ask whether to spend",
            field="OPENAI_API_KEY, ANTHROPIC_API_KEY",
            hint="Unset them for the simulator, or say `headrace demo --yes`.",
        )
    if not typer.confirm("Spend it?", default=False):
        raise typer.Exit(130)
