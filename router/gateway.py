"""The one way to a provider: through its breaker, after any pause that it asked for, and only when an answer can come
in time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from errors import (
    BreakerOpenError,
    ConfigurationError,
    NoProviderKeyError,
    ProviderAuthError,
    ProviderHeldError,
    ProviderRateLimitedError,
    RateLimitHeldError,
)
from router.breakers import Breakers
from router.pace import Pace
from router.policy import Target
from router.providers.anthropic_messages import AnthropicMessages
from router.providers.calls import CallReply, CallRequest, Provider
from router.providers.openai_responses import OpenAIResponses
from router.providers.server import ServerHabits
from router.providers.whole import AnswerLimits
from router.rate_holds import RateHolds


@dataclass(frozen=True, slots=True)
class ProviderCondition:
    """What keeps calls from a provider in this process: nothing if the breaker is closed and ``limited_s`` is 0.

    ``breaker``: the state as :meth:`router.breakers.Breakers.state` says; it lets a call through in ``again_in_s`` s.
    ``limited_s``: the provider asked for a pause of that length, s. ``tenants``: the number of tenants that are kept
    from it alone.
    """

    breaker: str
    again_in_s: float
    limited_s: float
    tenants: int


class Gateway:
    """Calls providers, each behind its breaker. Safe for many threads at once."""

    def __init__(self, providers: Mapping[str, Provider], breakers: Breakers, limits: RateHolds | None = None) -> None:
        """``providers`` by name; a provider without a key is not among them."""
        self._providers = providers
        self._breakers = breakers
        self._limits = limits or RateHolds()
        self._pace = Pace()

    def call(self, target: Target, request: CallRequest) -> CallReply:
        """Ask the target once. The target's model is used, whatever model the request names.

        :raises NoProviderKeyError: the target's provider has no key here.
        :raises ProviderHeldError: calls to the provider are paused; nothing was sent.
        :raises ProviderError: the call failed.
        """
        provider = self._providers.get(target.provider)
        if provider is None:
            raise self._without_key(target)
        if request.model != target.model:
            request = replace(request, model=target.model)
        own_key = request.api_key is not None
        if not own_key:
            self._limits.check(target.provider, tenant=request.tenant_id)
        started = time.monotonic()
        try:
            with self._breakers.calling(
                target.provider, tenant=request.tenant_id, hurried=request.hurried, own_key=own_key
            ):
                reply = provider.call(request)
        except ProviderRateLimitedError as error:
            if not own_key:
                self._limits.limited(target.provider, error.retry_after_s, tenant=request.tenant_id)
            raise
        self._limits.answered(target.provider, tenant=request.tenant_id)
        self._pace.answered(target, time.monotonic() - started)
        return reply

    def hopeless(self, target: Target, within_s: float) -> bool:
        """Whether no answer of the target can be expected within that many seconds."""
        return within_s < self._pace.least_s(target)

    def held(self, target: Target, *, tenant: str) -> NoProviderKeyError | ProviderHeldError | None:
        """Why the target cannot be asked now, or None when it can: asked before anything is reserved for a call."""
        name = target.provider
        if name not in self._providers:
            return self._without_key(target)
        limit_s, breaker_s = self._limits.wait_s(name, tenant=tenant), self._breakers.wait_s(name, tenant=tenant)
        if breaker_s > limit_s:
            return BreakerOpenError(f"the breaker of {name} is open", provider=name, retry_after_s=round(breaker_s, 3))
        if limit_s > 0:
            return RateLimitHeldError(f"{name} limits our rate", provider=name, retry_after_s=round(limit_s, 3))
        return None

    def wait_s(self, provider: str, *, tenant: str) -> float:
        """Seconds until the provider may be asked, 0.0 for now."""
        return max(self._limits.wait_s(provider, tenant=tenant), self._breakers.wait_s(provider, tenant=tenant))

    def conditions(self) -> dict[str, ProviderCondition]:
        """The providers with a key here, each with the reasons that keep calls from it now in this process."""
        return {name: self._condition(name) for name in sorted(self._providers)}

    def _condition(self, name: str) -> ProviderCondition:
        return ProviderCondition(
            breaker=self._breakers.state(name),
            again_in_s=round(self._breakers.wait_s(name), 1),
            limited_s=round(self._limits.wait_s(name), 1),
            tenants=max(self._breakers.tenants_open(name), self._limits.tenants_held(name)),
        )

    def answered_s(self, target: Target) -> float:
        """Seconds since the target last answered any call in this process; infinite when it never has."""
        return self._pace.since_s(target)

    def _without_key(self, target: Target) -> NoProviderKeyError:
        return NoProviderKeyError(
            "no key is configured for the provider",
            field="provider",
            value=target.provider,
            hint=f"Providers with a key: {', '.join(sorted(self._providers)) or 'none'}.",
        )


def build_providers(
    openai_key: str | None,
    openai_base_url: str | None,
    anthropic_key: str | None,
    anthropic_base_url: str | None,
    limits: AnswerLimits | None = None,
    habits: ServerHabits | None = None,
) -> dict[str, Provider]:
    """The providers that have a key, by name. A base URL of ``None`` is the provider's own.

    ``limits`` bound the size of answers; the defaults if left out. ``habits``: of servers behind a base URL.

    :raises ConfigurationError: a key or a base URL is not valid.
    """
    providers: dict[str, Provider] = {}
    try:
        if openai_key:
            providers["openai"] = OpenAIResponses(
                openai_key, _checked("openai_base_url", openai_base_url), limits, habits
            )
        if anthropic_key:
            providers["anthropic"] = AnthropicMessages(
                anthropic_key, _checked("anthropic_base_url", anthropic_base_url), limits, habits
            )
    except ProviderAuthError as error:
        raise ConfigurationError(error.message, field=f"{error.provider}_api_key") from error
    return providers


def _checked(setting: str, base_url: str | None) -> str | None:
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise ConfigurationError("a base URL begins with http:// or https://", field=setting, value=base_url)
    return base_url
