"""The tenant and the purpose of a call, in the fields that the providers have for them."""

from __future__ import annotations

from urllib.parse import quote

from router.providers.calls import CallRequest

_METADATA_LENGTH = 512  # OpenAI's limit for one value, characters


def client_request_id(request: CallRequest) -> dict[str, str]:
    """The header by which a provider's support, a gateway or the simulator knows the run."""
    return {"X-Client-Request-Id": str(request.run_id)}


def metadata(request: CallRequest) -> dict[str, str]:
    """OpenAI's ``metadata``: at most 16 strings, kept with the request's log.

    They are the same for every attempt of a job, so that a server that replays answers by the request's body recognises
    it. The run is in :func:`client_request_id`.
    """
    tags = {
        "tenant_id": request.tenant_id,
        "user_id": request.end_user,
        "feature": request.feature,
        "job_id": str(request.job_id),
    }
    return {name: value[:_METADATA_LENGTH] for name, value in tags.items()}


def gateway_headers(request: CallRequest) -> dict[str, str]:
    """Headers by which a Helicone-style gateway attributes cost. Only for a base URL of the operator's choice."""
    tags = {
        "Helicone-User-Id": request.end_user,
        "Helicone-Property-Tenant": request.tenant_id,
        "Helicone-Property-Feature": request.feature,
        "Helicone-Property-Job": str(request.job_id),
    }
    # Quoted: a header is printable ASCII without line breaks, and without blanks at its ends.
    return {name: quote(value, safe="@:/+", errors="replace") for name, value in tags.items()}
