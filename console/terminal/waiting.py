"""Why a job waits, in a sentence for people. Pure: an explanation in, words out."""

from __future__ import annotations

from console.terminal.output import cell
from storage.jobs.why import MOST_AHEAD, Explanation, Why


def sentence(told: Explanation) -> str:
    """The one reason, with its figures."""
    until = f" until {cell(told.until)} UTC" if told.until is not None else ""
    since = f" since {cell(told.since)} UTC" if told.since is not None else ""
    match told.why:
        case Why.ENDED:
            because = f" ({told.detail})" if told.detail and told.detail != told.state else ""
            at = f" at {cell(told.since)} UTC" if told.since is not None else ""
            return f"it ended{at}: {told.state}{because}"
        case Why.RUNNING:
            return f"it does not wait: it runs{since}"
        case Why.TENANT_PAUSED:
            return f"its tenant is paused{since}: `headrace resume --tenant {told.tenant_id}` resumes it"
        case Why.FEATURE_PAUSED:
            return f"its feature is paused{since}: `headrace resume --feature {told.feature}` resumes it"
        case Why.LANE_PAUSED:
            return f"its lane is paused{since}: `headrace resume --lane {told.lane}` resumes it"
        case Why.ASKED_FOR:
            return f"it was asked for later: it waits{until}"
        case Why.BACKOFF:
            return f"an attempt failed ({told.detail}): it waits{until}, then tries again"
        case Why.OVER_BUDGET:
            return f"it does not fit under {_named(told)}: room is expected{until or ' at no time'}"
        case Why.WAITING_FOR_ROOM:
            return f"calls under way hold the room under {_named(told)}: it runs when enough of them have settled"
        case Why.WAITING_FOR_SLOT:
            behind = f", and {_many(told.ahead, 'job')} of its tenant come first" if told.ahead else ""
            return f"as many run under {_named(told)} as may at once{behind}"
        case Why.RATE_LIMITED:
            return f"it waits for {_named(told)}: room is expected{until}"
        case Why.PROVIDER_HELD:
            return f"its providers are away or refuse our account: it waits{until}, and uses up no attempt"
        case Why.SCHEMA_WAITS:
            return "another large output schema of its tenant is being read"
        case Why.FEATURE_NOT_HERE:
            return (
                f"its feature {told.feature} is published, but the worker that took it has a routing policy without "
                f"it: it waits{until} for one that knows it"
            )
        case Why.PROVIDER_RATE_LIMITED:
            return f"its provider limits our rate: it waits{until}, and uses up no attempt"
        case Why.WAITS:
            return f"it waits for {_named(told)} ({told.detail})"
        case Why.NO_WORKERS:
            more = "" if told.schedulers else ", and no scheduler is alive: start one with `headrace scheduler`"
            return f"no live worker takes work: start one with `headrace worker`{more}"
        case Why.WIRE_AWAY:
            return f"the wire takes no offer, so no worker is told of it: {told.detail} (`headrace doctor` says more)"
        case Why.NO_SCHEDULER:
            waits = "enqueued by SQL" if told.state == "queued" else "due"
            return (
                f"no scheduler is alive, so jobs that are {waits} reach no worker: start one with `headrace scheduler`"
            )
        case Why.SCHEDULER_BEHIND:
            return (
                f"{_many(told.schedulers, 'scheduler')} should have handled it and did not: "
                "`headrace doctor` says what keeps them; restart them if they hang"
            )
        case Why.BEHIND_OWN_USER:
            return f"{_many(told.ahead_of_user, 'job')} of its own user come first ({_many(told.ahead)} of its tenant)"
        case Why.BEHIND_OWN_TENANT:
            return f"{_many(told.ahead, 'job')} of its tenant come first, by the fair order of users"
        case Why.BEHIND_OTHERS:
            rivals = _many(told.rivals, "other tenant")
            return f"every thread is busy, and work waits of {rivals}: its own tenant's turn comes within one round"
        case Why.BUSY:
            return f"all {told.threads} threads are busy: it takes the next one that is free"
        case Why.NEXT:
            return "nothing: it is the next of its tenant, and threads are free"


def start(told: Explanation) -> str | None:
    """When it starts, as far as this can be predicted; None for a job that does not wait any more."""
    if told.why in (Why.ENDED, Why.RUNNING):
        return None
    if told.too_late:
        return "its deadline comes first: it will expire"
    if told.starts_in_s is None:
        missing = "" if told.schedulers else ": no scheduler is alive (`headrace scheduler` starts one)"
        return f"the start cannot be predicted{missing}"
    more = " or later" if told.ahead >= MOST_AHEAD else ""
    return f"in {_duration(told.starts_in_s)}{more}"


def _named(told: Explanation) -> str:
    """The limit that must have room, in words: ``room:user:ada`` is the cap of the user ada."""
    kind, _, rest = (told.waits_for or "").partition(":")
    scope, _, key = rest.partition(":")
    of = f"{scope.replace('_', ' ')} {key}".strip()
    words = {"cap": "the cap", "room": "the cap", "rate": "the request rate", "slot": "the concurrency cap"}.get(kind)
    return f"{words} of its {of}" if words else (told.waits_for or "something")


def _many(n: int, what: str = "") -> str:
    least = "at least " if n >= MOST_AHEAD else ""
    return f"{least}{n:,} {what}{'s' if what and n != 1 else ''}".rstrip()


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"
