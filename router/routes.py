"""The route of a job: its tier, why, and which models may serve it."""

from __future__ import annotations

from dataclasses import dataclass

from router.heuristic import JobTraits, choose_tier
from router.policy import Policy, Target

__all__ = ["Route", "Target", "plan_route"]


@dataclass(frozen=True, slots=True)
class Route:
    """The route of a job. ``rule`` names the rule that chose the tier; it is stored with every run of the job."""

    tier: str
    rule: str
    primary: Target
    backup: Target | None


def plan_route(traits: JobTraits, policy: Policy) -> Route:
    """The route of a job with these traits under this policy.

    :raises ValueError: ``force_tier`` is not a tier (enqueue refuses that before it comes here).
    """
    name, rule = choose_tier(
        traits,
        hard_features=policy.hard_features,
        long_input_tokens=policy.long_input_tokens,
        report_features=policy.report_features,
    )
    tier = policy.tier(name)
    return Route(tier=name, rule=rule, primary=tier.primary, backup=tier.backup)
