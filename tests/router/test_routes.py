"""A job's route: the tier that the rules choose, with the policy's models."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.heuristic import JobTraits
from router.policy import load_policy
from router.routes import Route, Target, plan_route

CHAT = JobTraits(feature="chat", plan="free", input_tokens=10, has_code_block=False, force_tier=None)
CHEAP = (Target("openai", "gpt-6-luna"), Target("anthropic", "claude-haiku-5-5"))
STRONG = (Target("anthropic", "claude-sonnet-5-5"), Target("openai", "gpt-6.1-sol"))


@pytest.mark.parametrize(
    ("job", "route"),
    [
        (CHAT, Route("cheap", "default", *CHEAP)),
        (replace(CHAT, feature="legal_summary"), Route("strong", "hard_feature", *STRONG)),
        (replace(CHAT, feature="report", plan="enterprise"), Route("strong", "enterprise_report", *STRONG)),
        (replace(CHAT, input_tokens=20_001), Route("strong", "long_input", *STRONG)),
        (replace(CHAT, feature="code_review", force_tier="cheap"), Route("cheap", "forced", *CHEAP)),
    ],
)
def test_plan_route_names_tier_rule_and_models(job, route):
    assert plan_route(job, load_policy(None)) == route


def test_plan_route_asks_the_policy_what_is_hard_long_or_a_report():
    policy = replace(
        load_policy(None), hard_features=frozenset({"chat"}), report_features=frozenset(), long_input_tokens=5
    )

    assert plan_route(replace(CHAT, input_tokens=5), policy).rule == "hard_feature"
    assert plan_route(replace(CHAT, feature="report", plan="enterprise"), policy).rule == "long_input"
