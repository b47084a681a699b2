"""Prompt versions of this process. A version never changes, so what was loaded once is right for ever; which version
is active is asked anew at every claim."""

from __future__ import annotations

import threading
from uuid import UUID

from storage.catalogue import prompts
from storage.catalogue.prompts import PromptVersion
from storage.db.database import Database

_MOST = 512


class LoadedPrompts:
    """Loads a version at its first use. Keyed by tenant too: who may not see a version does not find it here."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._versions: dict[tuple[UUID, UUID], PromptVersion] = {}
        self._lock = threading.Lock()

    def get(self, tenant_id: UUID, prompt_id: UUID | None) -> PromptVersion | None:
        """The version with this id as the tenant sees it, or None. Waits for a Postgres that is away."""
        if prompt_id is None:
            return None
        known = self._versions.get((tenant_id, prompt_id))
        if known is not None:
            return known
        found = self._database.retry_until_answered(
            lambda connection: prompts.get(connection, prompt_id), tenant_id=tenant_id
        )
        if found is not None:
            with self._lock:
                if len(self._versions) >= _MOST:
                    self._versions.clear()
                self._versions[(tenant_id, prompt_id)] = found
        return found
