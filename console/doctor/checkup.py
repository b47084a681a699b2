"""The checks of ``headrace doctor``, part by part; a part comes after those that it depends on.

A part that fails says so and the next one goes on: nothing here raises a :class:`errors.HeadraceError`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping

from console.doctor import providers, servers, wire
from console.doctor.finding import Finding, guarded
from console.endpoints import Endpoints
from settings import Settings

PREFIX = "HEADRACE_"


def examine(settings: Settings, services: Endpoints) -> Iterator[Finding]:
    """Check every part."""
    yield from unknown_settings(os.environ)
    yield from guarded("database (app)", lambda: servers.app(services))
    yield from guarded("database (ops)", lambda: servers.ops(settings, services))
    yield from guarded("database (owner)", lambda: servers.owner(services))
    yield from guarded("wire", lambda: wire.examine(settings, services))
    yield from guarded("providers", lambda: providers.examine(settings, services))


def unknown_settings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Variables with our prefix that are not settings: most are typing errors, and the default holds instead."""
    known = {name.upper() for name in Settings.model_fields}
    ours = {name.upper().removeprefix(PREFIX) for name in environment if name.upper().startswith(PREFIX)}
    for name in sorted(ours - known):
        near = difflib.get_close_matches(name, known, n=1)
        to_do = f"Did you mean {PREFIX}{near[0]}?" if near else "docs/reference/settings.md lists every setting."
        yield Finding("settings", "note", f"{PREFIX}{name} is not a setting, and nothing reads it", to_do)
