"""The routing policy: what is shipped, and how a broken file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from genai_prices import Usage, calc_price

from errors import ConfigurationError, InvalidInputError
from router.policy import SHIPPED_POLICY, Target, load_policy


def broken(tmp_path: Path, change) -> ConfigurationError:
    """The error that the shipped policy raises after a change to it."""
    content = yaml.safe_load(SHIPPED_POLICY.read_text(encoding="utf-8"))
    change(content)
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_policy(file)
    assert str(file) in str(caught.value)
    return caught.value


def test_the_shipped_policy_holds_the_promised_features_and_models():
    policy = load_policy(None)

    assert set(policy.features) == {
        "chat",
        "support_reply",
        "sql_generation",
        "code_review",
        "legal_summary",
        "report",
    }
    assert policy.hard_features == {"sql_generation", "code_review", "legal_summary"}
    assert policy.report_features == {"report"}
    assert policy.long_input_tokens == 20_000
    assert policy.tier("cheap").primary == Target("openai", "gpt-6-luna")
    assert policy.tier("cheap").backup == Target("anthropic", "claude-haiku-5-5")
    assert policy.tier("strong").primary == Target("anthropic", "claude-sonnet-5-5")
    assert policy.tier("strong").backup == Target("openai", "gpt-6.1-sol")


def test_every_shipped_model_has_a_price():
    for tier in load_policy(None).tiers.values():
        for target in (tier.primary, tier.backup):
            price = calc_price(
                Usage(input_tokens=1_000, output_tokens=1_000), model_ref=target.model, provider_id=target.provider
            )
            assert price.total_price > 0


def test_chat_is_there_even_if_the_file_forgets_it(tmp_path):
    content = yaml.safe_load(SHIPPED_POLICY.read_text(encoding="utf-8"))
    content["features"] = {}
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")

    policy = load_policy(file)

    assert list(policy.features) == ["chat"]
    assert not policy.features["chat"].hard


def test_a_feature_may_say_how_often_each_user_may_ask(tmp_path):
    content = yaml.safe_load(SHIPPED_POLICY.read_text(encoding="utf-8"))
    content["features"]["support_reply"]["user_requests_per_minute"] = 240
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")

    features = load_policy(file).features

    assert features["support_reply"].user_requests_per_minute == 240
    assert {one.user_requests_per_minute for name, one in features.items() if name != "support_reply"} == {None}


@pytest.mark.parametrize("rate", [0, -1, 2**31, 1.5, "60", True])
def test_a_rate_that_is_none_is_refused(tmp_path, rate):
    error = broken(tmp_path, lambda policy: policy["features"]["chat"].update(user_requests_per_minute=rate))

    assert error.field == "features.chat.user_requests_per_minute"


def test_a_policy_cannot_be_changed():
    policy = load_policy(None)

    with pytest.raises(TypeError):
        policy.features["chat"] = None


def test_an_unknown_tier_names_those_that_there_are():
    with pytest.raises(InvalidInputError, match="cheap, strong"):
        load_policy(None).tier("medium")


def test_a_wrong_value_is_named_with_its_field(tmp_path):
    error = broken(tmp_path, lambda policy: policy["features"]["chat"].update(hard="perhaps"))

    assert error.field == "features.chat.hard"
    assert error.value == "perhaps"


def test_a_field_that_does_not_exist_is_refused(tmp_path):
    error = broken(tmp_path, lambda policy: policy["features"]["chat"].update(hrad=True))

    assert error.field == "features.chat.hrad"


def test_a_missing_tier_is_named(tmp_path):
    error = broken(tmp_path, lambda policy: policy["tiers"].pop("strong"))

    assert error.field == "tiers.strong"


def test_a_provider_that_we_do_not_know_is_refused(tmp_path):
    error = broken(tmp_path, lambda policy: policy["tiers"]["cheap"]["primary"].update(provider="elsewhere"))

    assert error.field == "tiers.cheap.primary.provider"


def test_a_backup_at_the_same_provider_is_refused(tmp_path):
    def change(policy):
        policy["tiers"]["cheap"]["backup"] = {"provider": "openai", "model": "gpt-6.1-sol"}

    error = broken(tmp_path, change)

    assert error.field == "tiers.cheap"
    assert "another provider" in error.message


def test_margins_of_models_are_read_and_bounded(tmp_path):
    assert load_policy(None).input_margins == {}
    error = broken(tmp_path, lambda policy: policy.update(input_margins={"gpt-6-luna": 0.01}))
    assert error.field == "input_margins.gpt-6-luna"


def test_further_breaches_are_named_too(tmp_path):
    def change(policy):
        policy["long_input_tokens"] = 0
        policy["tiers"]["cheap"]["primary"]["model"] = "two words"

    error = broken(tmp_path, change)

    assert {error.field, *str(error.hint).removeprefix("Also wrong: ").strip(".").split(", ")} == {
        "long_input_tokens",
        "tiers.cheap.primary.model",
    }


@pytest.mark.parametrize("content", ["tiers: [", "", "- a\n- list", "\x00"])
def test_a_file_that_is_no_policy_at_all_is_refused(tmp_path, content):
    file = tmp_path / "policy.yaml"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=str(file)):
        load_policy(file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nothing\.yaml"):
        load_policy(tmp_path / "nothing.yaml")
