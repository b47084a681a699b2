"""How the calls of the last minutes are judged: what was the provider's own fault, and how much of it is trouble."""

from __future__ import annotations

import pytest

from console.doctor.providers import _of_calls
from storage.fleet.health import RecentCalls


def calls(status: str, n: int, code: str | None = None, *, last_s_ago: float = 1.0) -> RecentCalls:
    return RecentCalls("openai", status, code, n, last_s_ago)


@pytest.mark.parametrize(
    ("seen", "verdict", "says"),
    [
        ([], "ok", "no call has ended"),
        ([calls("started", 4)], "ok", "no call has ended in the last 5 min, 4 under way"),
        ([calls("succeeded", 9)], "ok", "9 calls"),
        ([calls("succeeded", 1)], "ok", "1 call in"),
        ([calls("succeeded", 9), calls("failed", 9, "provider_refused")], "ok", "18 calls"),
        ([calls("succeeded", 9), calls("failed", 3, "provider_timeout")], "note", "3 of 12 calls"),
        ([calls("succeeded", 2), calls("unknown", 2, "provider_timeout")], "note", "2 of 4 calls"),
        ([calls("succeeded", 3), calls("failed", 3, "provider_quota")], "wrong", "most often provider_quota (3)"),
        ([calls("failed", 1, "provider_unreachable")], "wrong", "1 of 1 call in"),
        (
            [calls("succeeded", 990, last_s_ago=30.0), calls("failed", 3, "provider_unavailable")],
            "wrong",
            "3 of 993 calls in the last 5 min failed for a fault of its own, most often provider_unavailable (3), and"
            " none has succeeded for 30 s",
        ),
        ([calls("succeeded", 990), calls("failed", 9, "provider_timeout", last_s_ago=40.0)], "note", "9 of 999 calls"),
        ([calls("unknown", 4, "outcome_unknown"), calls("succeeded", 1)], "ok", "5 calls"),
        (
            [calls("failed", 2, "provider_auth"), calls("failed", 5, "provider_unavailable")],
            "wrong",
            "most often provider_unavailable (5)",
        ),
    ],
)
def test_a_provider_is_judged_by_its_own_faults(seen: list[RecentCalls], verdict: str, says: str) -> None:
    judged, told, to_do = _of_calls("openai", seen)

    assert judged == verdict
    assert says in told
    assert (to_do is None) == (verdict == "ok"), "what is bad names what to do"
