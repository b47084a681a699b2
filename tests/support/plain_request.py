"""The plainest request that is taken, and the time at which it is checked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

TENANT = UUID(int=1)
NOW = datetime(2030, 1, 1, tzinfo=UTC)
BASE: dict[str, Any] = {
    "tenant_id": TENANT,
    "user_id": "u-1",
    "feature": "chat",
    "messages": [{"role": "user", "content": "Hello"}],
}
