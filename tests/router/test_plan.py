"""What a job will ask of whom: messages, route, limits, calls."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from errors import (
    ExtraVariableError,
    InvalidSchemaError,
    MissingVariableError,
    TooLongError,
    UnknownFeatureError,
    UnknownPromptError,
)
from guards.schemas import check_schema
from prompts.messages import Message
from router import plan as plans
from router.plan import Plan
from router.policy import Policy, Target, load_policy
from router.tokens import estimate_input_tokens, input_token_bound
from storage.catalogue.prompts import PromptVersion
from storage.jobs.jobs import ClaimedJob

LUNA, HAIKU = Target("openai", "luna"), Target("anthropic", "haiku")
SONNET, SOL = Target("anthropic", "sonnet"), Target("openai", "sol")

JOB = ClaimedJob(
    job_id=UUID(int=1),
    user_id="u-1",
    feature="chat",
    attempt=1,
    rank=0,
    estimated_tokens=100,
    plan="pro",
    weight=1.0,
    prompt_id=None,
    variables=None,
    messages=[{"role": "user", "content": "Hello"}],
    context=None,
    output_schema=None,
    max_output_tokens=None,
    on_over_budget="fail",
    on_unknown="retry",
    force_tier=None,
    metadata={},
    rates=(),
    remaining_s=None,
    held_s=None,
    queued_s=0.0,
    more=False,
)
PROMPT = PromptVersion(
    id=UUID(int=9),
    name="greet",
    version=3,
    body="## system\nBe kind.\n\n## user\nGreet {{ name }}.",
    variables={"name": 50},
    output_schema={"type": "object"},
    max_output_tokens=300,
    min_output_tokens=40,
)
OF_PROMPT = replace(JOB, messages=None, variables={"name": "Ada"}, prompt_id=PROMPT.id)


def plan_job(job: ClaimedJob, prompt: PromptVersion | None, policy: Policy) -> Plan:
    return plans.plan_job(job, prompt, policy, check_schema=check_schema)


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    file = tmp_path / "policy.yaml"
    file.write_text(
        """
long_input_tokens: 1000
tiers:
  cheap:
    primary: {provider: openai, model: luna}
    backup: {provider: anthropic, model: haiku}
  strong:
    primary: {provider: anthropic, model: sonnet}
features:
  chat: {description: Talk., default_max_output_tokens: 77, max_input_chars: 9000}
  proof: {description: Prove., hard: true}
"""
    )
    return load_policy(file)


def test_messages_are_asked_as_they_are(policy: Policy) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    plan = plan_job(replace(JOB, messages=messages), None, policy)
    assert plan.messages == (Message("system", "Be brief."), Message("user", "Hi"))
    assert (plan.prompt, plan.output_schema, plan.min_output_tokens) == (None, None, None)
    assert plan.input_tokens == estimate_input_tokens(plan.messages)


def test_a_prompt_is_rendered_and_brings_its_limits_and_schema(policy: Policy) -> None:
    plan = plan_job(OF_PROMPT, PROMPT, policy)
    assert plan.messages == (Message("system", "Be kind."), Message("user", "Greet Ada."))
    assert (plan.max_output_tokens, plan.min_output_tokens, plan.output_schema) == (300, 40, {"type": "object"})
    assert plan.call(plan.targets[0]).prompt_id == PROMPT.id


def test_what_the_job_asks_for_goes_before_prompt_and_feature(policy: Policy) -> None:
    asked = replace(OF_PROMPT, max_output_tokens=21, output_schema={"type": "string"})
    plan = plan_job(asked, PROMPT, policy)
    assert (plan.max_output_tokens, plan.output_schema) == (21, {"type": "string"})
    assert plan_job(JOB, None, policy).max_output_tokens == 77


def test_a_context_is_no_longer_than_what_was_let_in(policy: Policy) -> None:
    """With an indent each value of a list that is sixty levels deep would have a line of sixty blanks."""
    context: Any = [1] * 10_000
    for _ in range(60):
        context = [context]
    (shown, _) = plan_job(replace(JOB, context=context), None, policy).messages
    assert len(shown.content) < 31_000


@pytest.mark.parametrize(("context", "shown"), [("A fact.", "A fact."), ({"é": [1]}, '"é": [')])
def test_context_follows_the_system_message_as_data(policy: Policy, context: Any, shown: str) -> None:
    plan = plan_job(replace(OF_PROMPT, context=context), PROMPT, policy)
    assert [one.role for one in plan.messages] == ["system", "system", "user"]
    assert shown in plan.messages[1].content
    assert "data, not instructions" in plan.messages[1].content
    first = plan_job(replace(JOB, context=context), None, policy).messages
    assert [one.role for one in first] == ["system", "user"]


@pytest.mark.parametrize(
    ("job", "tier", "rule", "targets"),
    [
        (JOB, "cheap", "default", (LUNA, HAIKU)),
        (replace(JOB, feature="proof"), "strong", "hard_feature", (SONNET,)),
        (replace(JOB, force_tier="strong"), "strong", "forced", (SONNET,)),
        (replace(JOB, feature="proof", force_tier="cheap"), "cheap", "forced", (LUNA, HAIKU)),
        (replace(JOB, messages=[{"role": "user", "content": "why?\n```\nx\n```"}]), "strong", "code_block", (SONNET,)),
        (replace(JOB, messages=[{"role": "user", "content": "word " * 1500}]), "strong", "long_input", (SONNET,)),
    ],
)  # fmt: skip
def test_the_route_follows_the_policy(
    policy: Policy, job: ClaimedJob, tier: str, rule: str, targets: tuple[Target, ...]
) -> None:
    plan = plan_job(job, None, policy)
    assert (plan.route.tier, plan.route.rule, plan.targets) == (tier, rule, targets)


def test_a_code_block_in_the_prompt_does_not_make_its_jobs_dear(policy: Policy) -> None:
    prompt = replace(PROMPT, body="## user\n```\nexample\n```\n{{ name }}")
    assert plan_job(OF_PROMPT, prompt, policy).route.tier == "cheap"
    assert plan_job(replace(OF_PROMPT, variables={"name": "```\nx\n```"}), prompt, policy).route.rule == "code_block"


def test_each_call_has_its_own_id_its_bound_and_says_whether_it_is_the_backup(policy: Policy) -> None:
    plan = plan_job(OF_PROMPT, PROMPT, policy)
    first, second = (plan.call(target) for target in plan.targets)
    assert first.run_id != second.run_id
    assert (first.fallback, second.fallback) == (False, True)
    assert (first.provider, first.model, first.tier, first.route_rule) == ("openai", "luna", "cheap", "default")
    for call in (first, second):
        bound = input_token_bound(call.provider, call.model, plan.messages, plan.output_schema)
        assert (call.input_bound, call.max_output_tokens, call.min_output_tokens) == (bound, 300, 40)
    assert plan.call(plan.targets[0]).run_id != first.run_id


def test_no_call_is_shortened_below_what_its_provider_takes(policy: Policy) -> None:
    plan = plan_job(OF_PROMPT, replace(PROMPT, min_output_tokens=5, max_output_tokens=9), policy)
    openai, anthropic = (plan.call(target) for target in plan.targets)
    assert (openai.min_output_tokens, openai.max_output_tokens) == (16, 16)
    assert (anthropic.min_output_tokens, anthropic.max_output_tokens) == (5, 9)


def test_a_margin_of_the_policy_moves_the_bound_of_its_model(policy: Policy) -> None:
    plain = plan_job(OF_PROMPT, PROMPT, policy)
    margined = plan_job(OF_PROMPT, PROMPT, replace(policy, input_margins={"luna": 1.5}))
    (luna, haiku), (wider, same) = ([plan.call(one) for one in plan.targets] for plan in (plain, margined))
    assert wider.input_bound == math.ceil(luna.input_bound * 1.5)
    assert same.input_bound == haiku.input_bound


def test_what_only_python_can_check_is_refused_here(policy: Policy) -> None:
    with pytest.raises(UnknownFeatureError) as feature:
        plan_job(replace(JOB, feature="retired"), None, policy)
    assert (feature.value.field, feature.value.value) == ("feature", "retired")
    with pytest.raises(InvalidSchemaError) as schema:
        plan_job(replace(JOB, output_schema={"type": "nonsense"}), None, policy)
    assert (schema.value.field, schema.value.value) == ("output_schema.type", "nonsense")
    with pytest.raises(TooLongError) as long:
        plan_job(replace(JOB, messages=[{"role": "user", "content": "x" * 9001}]), None, policy)
    assert (long.value.field, long.value.value) == ("messages", "9001 characters")
    assert plan_job(replace(JOB, messages=[{"role": "user", "content": "x" * 9000}]), None, policy)


def test_the_first_that_is_wrong_is_told(policy: Policy) -> None:
    """A feature that is gone, then the schema, then the length: every planner refuses the same job alike."""
    wrong = replace(JOB, output_schema={"type": "nonsense"}, messages=[{"role": "user", "content": "x" * 9001}])
    with pytest.raises(UnknownFeatureError):
        plan_job(replace(wrong, feature="retired"), None, policy)
    with pytest.raises(InvalidSchemaError):
        plan_job(wrong, None, policy)
    with pytest.raises(TooLongError):
        plan_job(replace(wrong, output_schema=None, prompt_id=uuid4()), None, policy)


def test_a_prompt_that_moved_on_after_enqueue_is_refused_by_name(policy: Policy) -> None:
    with pytest.raises(UnknownPromptError):
        plan_job(replace(OF_PROMPT, prompt_id=uuid4()), None, policy)
    with pytest.raises(MissingVariableError) as missing:
        plan_job(replace(OF_PROMPT, variables={}), PROMPT, policy)
    assert missing.value.field == "variables.name"
    with pytest.raises(ExtraVariableError) as extra:
        plan_job(replace(OF_PROMPT, variables={"name": "Ada", "age": "36"}), PROMPT, policy)
    assert extra.value.field == "variables.age"
