"""``/metrics`` over HTTP, until told to stop. Each request reads the database anew."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from console.metrics.exposition import CONTENT_TYPE
from errors import ConfigurationError, HeadraceError

PATH = "/metrics"
_SLOWEST_CLIENT_S = 10


def build_server(host: str, port: int, read: Callable[[], str]) -> ThreadingHTTPServer:
    """A server that listens; ``read`` renders the page. When ``read`` fails, the answer is 503 with the reason.

    :raises ConfigurationError: it cannot listen there.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _SLOWEST_CLIENT_S

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != PATH:
                self._answer(404, f"There is only {PATH}.\n")
                return
            try:
                page = read()
            except HeadraceError as error:
                self._answer(503, f"{error.code}: {error.message}\n")
            else:
                self._answer(200, page, CONTENT_TYPE)

        def _answer(self, status: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: a scrape comes every few seconds."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        hint = "Choose another --port, or 0 for a free one."
        raise ConfigurationError(f"cannot listen on {host}: {error}", field="port", value=port, hint=hint) from error
    server.daemon_threads = True
    return server
