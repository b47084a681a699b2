"""The providers: which keys exist, how the calls of the last minutes went, and which jobs wait for a provider.

The workers report the keys, because they have them: the shell of the person who asks may lack them. Without a live
worker, the environment is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from console.doctor.finding import Finding, Verdict
from console.endpoints import Endpoints, check_whole
from console.terminal.output import count_of
from errors import (
    HeadraceError,
    NotNowError,
    ProviderAnswerLostError,
    ProviderEmptyAnswerError,
    ProviderError,
    by_code,
)
from redaction import without_password
from router.policy import Policy, load_policy
from settings import Settings
from storage.db.session import OPERATOR, session
from storage.fleet import health, workers
from storage.fleet.health import HeldJobs, RecentCalls

RECENT_S: Final = 300.0
"""Calls that began within that many seconds are looked at."""
ENOUGH: Final = 3
"""That many failures that are at least half of the calls are wrong; fewer are wrong if no call succeeded."""
SINCE_S: Final = 10.0
"""A provider without a successful call for that long, while calls failed, is away, however many succeeded before."""
HELD_TOO_LONG_S: Final = 60.0
"""Jobs that have waited that long for providers that are away are wrong."""

_NAMES: Final = ("openai", "anthropic")
_VARIABLES: Final = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
_KEY_FOR_ANY = "A provider without a key is not asked. A server that needs none takes any text as its key."
_ITS_OWN_OUTAGE = "It is down or overloaded: see its status page. Jobs wait until their deadline and use up no attempt."
_TO_DO: Final = {
    "provider_auth": "The platform's key is refused: set {variable} to a valid key, and restart the workers.",
    "provider_quota": "Its account has no money left: pay there. The jobs wait and then continue by themselves.",
    "provider_forbidden": "It refuses this account, region or network: `headrace jobs show` of a waiting job says why.",
    "provider_rate_limited": "It limits our rate: have the limit raised there, or lower the load. Jobs wait for it.",
    "provider_unreachable": "No connection: check DNS, the firewall, the proxy and {base_url}.",
    "provider_unavailable": _ITS_OWN_OUTAGE,
    "provider_timeout": "It is too slow: see its status page, or raise HEADRACE_CALL_TIMEOUT_S.",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What Postgres knows of the providers: live workers that take work, recent calls, jobs that wait for providers."""

    workers: Sequence[dict[str, Any]]
    calls: Sequence[RecentCalls]
    held: Sequence[HeldJobs]

    @property
    def reporting(self) -> list[dict[str, Any]]:
        """What each worker reports of its providers, from the workers that report."""
        return [one["providers"] for one in self.workers if one["providers"] is not None]


def examine(settings: Settings, services: Endpoints) -> Iterator[Finding]:
    """Check keys, calls, breakers and routes."""
    seen = _seen(settings, services)
    yield from _held(seen.held)
    simulator = services.simulator_url
    simulated = "simulator" in services.embedded or simulator is not None
    if not seen.reporting:
        check_whole(settings, ("simulator",))  # else the workers have the keys, whether or not this shell has them
    policy = load_policy(settings.routing_policy)
    with_key = set(_NAMES) if simulated and not seen.reporting else _with_key(services, seen)
    if simulated:
        whose = "private simulator" if "simulator" in services.embedded else f"simulator at {simulator}"
        to_do = "Set OPENAI_API_KEY or ANTHROPIC_API_KEY for real ones."
        yield Finding("providers", "note", f"the {whose} invents the answers, and each answer is marked", to_do)
    if not with_key:
        to_do = "Set OPENAI_API_KEY or ANTHROPIC_API_KEY for the workers, or HEADRACE_SIMULATOR_URL=private."
        yield Finding("providers", "wrong", "no key is set, so no worker starts", to_do)
        return
    urls = {"openai": services.openai_base_url, "anthropic": services.anthropic_base_url}
    away = set[str]()
    for name in _NAMES:
        at = f", at {without_password(url)}" if (url := urls[name]) and not simulated else ""
        keys = None if simulated else _keys(name, name in with_key, seen) + at
        for finding in _judged(name, keys, seen, has_key=name in with_key):
            if finding.verdict == "wrong":
                away.add(name)
            yield finding
    yield from _routes(policy, with_key, away)


def _seen(settings: Settings, services: Endpoints) -> Seen:
    """What Postgres knows; nothing if Postgres does not answer, which is a finding of its own part."""
    try:
        with session(services.require_ops(), setting=OPERATOR) as connection:
            return Seen(
                [one for one in workers.alive(connection, settings.worker_silent_s) if not one["draining"]],
                health.recent_calls(connection, window_s=RECENT_S),
                health.held(connection),
            )
    except HeadraceError:
        return Seen([], [], [])


def _with_key(services: Endpoints, seen: Seen) -> set[str]:
    """The providers that have a key, as the workers report it; without workers, by this environment."""
    if seen.reporting:
        return {name for one in seen.reporting for name in one}
    keys = {"openai": services.openai_api_key, "anthropic": services.anthropic_api_key}
    return {name for name, key in keys.items() if key}


def _keys(name: str, has_key: bool, seen: Seen) -> str:
    if not seen.reporting:
        return "a key is set" if has_key else "no key is set"
    having = sum(name in one for one in seen.reporting)
    return f"{having} of {len(seen.reporting)} workers have a key" if having else "no worker has a key"


def _judged(name: str, keys: str | None, seen: Seen, *, has_key: bool) -> Iterator[Finding]:
    """The line of one provider: its keys, its calls, its breakers. The worst of them decides."""
    calls = [one for one in seen.calls if one.provider == name]
    verdict, told, to_do = _of_calls(name, calls)
    if not has_key and not calls:
        yield Finding(f"provider {name}", "note", keys or "it has no key", _KEY_FOR_ANY)
        return
    kept, why, then = _kept_away(name, seen.reporting)
    if verdict == "ok" or (verdict, kept) == ("note", "wrong"):
        verdict, to_do = kept, to_do or then
    yield Finding(f"provider {name}", verdict, "; ".join(one for one in (keys, told, why) if one), to_do)


def _of_calls(name: str, calls: Sequence[RecentCalls]) -> tuple[Verdict, str, str | None]:
    """How the calls of the last minutes went, and the fix for those that failed through the provider's own fault."""
    settled = sum(one.calls for one in calls if one.status != "started")
    faults = Counter[str]()
    for one in calls:
        if one.status in ("failed", "unknown") and one.error_code and _is_the_providers(one.error_code):
            faults[one.error_code] += one.calls
    failed = faults.total()
    within = f"in the last {RECENT_S / 60:.0f} min"
    if settled == 0:
        under_way = sum(one.calls for one in calls)
        return "ok", f"no call has ended {within}" + (f", {under_way} under way" if under_way else ""), None
    if failed == 0:
        return "ok", f"{count_of(settled, 'call')} {within}, none failed for a fault of its own", None
    code, most = faults.most_common(1)[0]
    told = f"{failed} of {count_of(settled, 'call')} {within} failed for a fault of its own, most often {code} ({most})"
    to_do = _TO_DO.get(code, "See `headrace jobs show` of a job that failed, and the provider's status page.")
    to_do = to_do.format(variable=_VARIABLES[name], base_url=f"HEADRACE_{name.upper()}_BASE_URL")
    answered_s = min((one.last_s_ago for one in calls if one.status == "succeeded"), default=None)
    failed_s = min(one.last_s_ago for one in calls if one.error_code in faults)
    bad = failed * 2 >= settled and (failed >= ENOUGH or answered_s is None)
    if answered_s is not None and failed >= ENOUGH and answered_s - failed_s >= SINCE_S:
        told += f", and none has succeeded for {answered_s:.0f} s"
        bad = True
    return "wrong" if bad else "note", told, to_do


def _is_the_providers(code: str) -> bool:
    kind = by_code(code)
    its_own = (NotNowError, ProviderAnswerLostError, ProviderEmptyAnswerError)
    return issubclass(kind, ProviderError) and issubclass(kind, its_own)


def _kept_away(name: str, reporting: Sequence[dict[str, Any]]) -> tuple[Verdict, str | None, str | None]:
    """The number of workers in which a breaker or a rate limit keeps calls from a provider, and the fix."""
    said = [one[name] for one in reporting if name in one]
    shut = [one for one in said if one.get("breaker", "closed") != "closed"]
    again_s = max((one.get("again_in_s", 0.0) for one in shut), default=0.0)
    limit_s = max((one.get("limited_s", 0.0) for one in said), default=0.0)
    if again_s > 0:
        why = f"the breaker is open in {len(shut)} of {len(said)} workers, and the next call tries in {again_s:.0f} s"
        return "wrong", why, _ITS_OWN_OUTAGE
    if limit_s > 0:
        return "note", f"it asked for a pause, which lasts {limit_s:.0f} s more", _TO_DO["provider_rate_limited"]
    if shut:
        return "note", f"the breaker is open in {len(shut)} of {len(said)} workers, and the next call tries", None
    return "ok", None, None


def _held(held: Sequence[HeldJobs]) -> Iterator[Finding]:
    for one in sorted(held, key=lambda one: one.reason):
        waiting = count_of(one.jobs, "job waits", "jobs wait")
        longest = "" if one.longest_s is None else f", the first for {one.longest_s:.0f} s"
        if one.reason == "provider_held":
            bad = (one.longest_s or 0.0) > HELD_TOO_LONG_S
            says = f"{waiting} for providers that are away or refuse our account{longest}"
            to_do = "See the lines of the providers. They continue by themselves, and use up no attempt."
            yield Finding("held jobs", "wrong" if bad else "note", says, to_do)
        else:
            says = f"{waiting} for a provider that limits our rate{longest}"
            yield Finding("held jobs", "note", says, "Have the limit raised there, or lower the load.")


def _routes(policy: Policy, with_key: set[str], away: set[str]) -> Iterator[Finding]:
    for tier in policy.tiers.values():
        targets = [tier.primary] + ([tier.backup] if tier.backup else [])
        names = " then ".join(f"{one.provider}:{one.model}" for one in targets)
        reachable = [one for one in targets if one.provider in with_key]
        part = f"tier {tier.name}"
        if not reachable:
            yield Finding(part, "wrong", f"{names}: none has a key, so its jobs are rejected", "Set a key.")
        elif all(one.provider in away for one in reachable):
            yield Finding(part, "wrong", f"{names}: none of them answers now", "See the lines of the providers.")
        elif len(reachable) < 2:
            yield Finding(part, "note", f"{names}: only {reachable[0].provider} has a key, so there is no backup")
        else:
            yield Finding(part, "ok", names)
