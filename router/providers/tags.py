"""For whom and what a call is, in the fields that the providers have for it."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from router.providers.calls import CallRequest

_METADATA_LENGTH = 512  # OpenAI's limit for one value, characters


def client_request_id(request: CallRequest) -> dict[str, str]:
    """The header by which a provider's support, a gateway or the simulator knows the run."""
    return {"X-Client-Request-Id": str(request.run_id)}


def metadata(request: CallRequest) -> dict[str, str]:
    """OpenAI's ``metadata``: at most 16 strings, kept with the request's log."""
    tags = {
        "tenant_id": request.tenant_id,
        "user_id": request.user_id,
        "feature": request.feature,
        "job_id": str(request.job_id),
        "run_id": str(request.run_id),
    }
    return {name: value[:_METADATA_LENGTH] for name, value in tags.items()}


def end_user(request: CallRequest) -> str:
    """A stable mark of the end user that tells nobody who that is (64 characters); both providers ask for one."""
    return hashlib.sha256(f"{request.tenant_id}:{request.user_id}".encode("utf-8", "replace")).hexdigest()


def gateway_headers(request: CallRequest) -> dict[str, str]:
    """Headers by which a Helicone-style gateway attributes cost. Only for a base URL of the operator's choice."""
    tags = {
        "Helicone-User-Id": request.user_id,
        "Helicone-Property-Tenant": request.tenant_id,
        "Helicone-Property-Feature": request.feature,
        "Helicone-Property-Job": str(request.job_id),
    }
    # Quoted, for a user id is any text, and a header is printable ASCII without line breaks.
    return {name: quote(value, safe=" @:/+", errors="replace") for name, value in tags.items()}
