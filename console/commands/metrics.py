"""``headrace metrics``: the platform's metrics in Prometheus' text format, once or over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from console.connect import DATABASE, connect
from console.metrics.exposition import exposition
from console.metrics.server import PATH, build_server
from console.processes.stop import StopRequests
from console.terminal.output import Json, note, print_json, to_json
from settings import Settings
from storage.db.session import operator_session
from storage.fleet.metrics import Snapshot, snapshot


def metrics(
    serve: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="PORT", help="Serve /metrics on this port; 0 picks a free one."),
    ] = None,
    host: Annotated[str, typer.Option(help="With --serve: the address to listen on.")] = "127.0.0.1",
    as_json: Json = False,
) -> None:
    """Print or serve the platform's metrics for Prometheus.

    By default the text is printed once; with --serve it is served at /metrics until told to stop.
    """
    settings = Settings()
    with connect(settings, DATABASE) as services:
        ops_url = services.require_ops()
        if serve is not None:
            _serve(settings, ops_url, host, serve, as_json=as_json)
        elif as_json:
            now = _read(settings, ops_url)
            print_json({**asdict(now), "load": now.load})
        else:
            typer.echo(exposition(_read(settings, ops_url)), nl=False)


def _read(settings: Settings, ops_url: str) -> Snapshot:
    with operator_session(ops_url) as connection:
        return snapshot(connection, silent_s=settings.worker_silent_s)


def _serve(settings: Settings, ops_url: str, host: str, port: int, *, as_json: bool) -> None:
    server = build_server(host, port, lambda: exposition(_read(settings, ops_url)))
    url = f"http://{host}:{server.server_port}{PATH}"

    with server, StopRequests(server.shutdown):
        if as_json:
            typer.echo(to_json({"url": url}))
        else:
            note(f"serving {url}")
        server.serve_forever()
