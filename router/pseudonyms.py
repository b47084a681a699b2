"""The name of a user for providers and gateways: a stable pseudonym, in place of the id.

Both providers ask for a mark of the end user, so that they can act on one user's abuse without stopping the rest. An id
may be a name or an address, and a plain hash of one is found by trying. So the mark is an HMAC under the deployment's
key, which stays in the database: without the key it cannot be told which user a mark belongs to, or that two tenants
share a user.
"""

from __future__ import annotations

import hashlib
import hmac


class Pseudonyms:
    """Makes the pseudonyms of one deployment."""

    def __init__(self, key: bytes) -> None:
        """``key``: the deployment's (:func:`storage.catalogue.deployment.pseudonym_key`)."""
        self._key = key

    def of_user(self, tenant_id: str, user_id: str) -> str:
        """The pseudonym of a tenant's user: 64 hexadecimal characters, the same for ever."""
        # The tenant's id has a fixed length, so no two pairs make the same text.
        return hmac.new(self._key, f"{tenant_id}:{user_id}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()
