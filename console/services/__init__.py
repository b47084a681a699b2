"""The embedded services: a private Postgres, a private Valkey and the provider simulator, where no URL is set.

    with endpoints(Settings()) as services: ...      # for the length of a block
    services = start(Path(".headrace"))              # until stop()

Start reading at :mod:`console.services.whereabouts` (these functions), then :mod:`console.services.launch` (how the
services come up) and :mod:`console.services.keeper` (the process that owns them).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from console.services.whereabouts import Endpoints, ServiceStatus, endpoints, start, status, stop

__all__ = ["Endpoints", "ServiceStatus", "endpoints", "start", "status", "stop"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: the keeper stays up for days and lives in this package, but needs none of it.
    if name in __all__:
        return getattr(importlib.import_module("console.services.whereabouts"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
