"""``headrace simulate``: a simulator of both providers' servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from simulator.server import HOST, serve


def simulate(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 picks a free one.")] = 8399,
    port_file: Annotated[
        Path | None, typer.Option(help="File to which the port is written once the server listens.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random faults and latencies.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as one line of JSON.")] = False,
) -> None:
    """Run a simulator of OpenAI and Anthropic on this machine, until interrupted."""

    def announce(bound: int) -> None:
        typer.echo(_where(bound, as_json=as_json))

    serve(port=port, port_file=port_file, seed=seed, listening=announce)


def _where(port: int, *, as_json: bool) -> str:
    address = f"http://{HOST}:{port}"
    if as_json:
        return json.dumps({"port": port, "openai_base_url": f"{address}/v1", "anthropic_base_url": address})
    return "\n".join(
        (
            f"The provider simulator listens on {HOST}:{port}.",
            f"  OpenAI     {address}/v1",
            f"  Anthropic  {address}",
            f"  Journal    {address}/_sim/journal",
            f"  Behaviour  {address}/_sim/behaviour",
        )
    )
