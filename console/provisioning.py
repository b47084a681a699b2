"""What a database needs besides its schema: features, lanes, the shipped prompts, prices of what we route to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from errors import InvalidSchemaError
from guards.schemas import check_schema
from prompts.front_matter import PromptFile, load_prompts
from router.policy import Policy, load_policy
from storage import policy as stored_policy
from storage import price_sync, prompts
from storage.connect import connect
from storage.migrate import Migrated, migrate
from storage.policy import PublishedFeature


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What was new."""

    migrated: Migrated
    prompts_published: int
    prices_added: int


def provision(
    owner_url: str,
    *,
    lanes: Mapping[str, int],
    routing_policy: Path | None = None,
    prompts_dir: Path | None = None,
) -> Provisioned:
    """Migrate, then bring features, lanes, default prompts and prices up to date. Safe to repeat and to race."""
    policy = load_policy(routing_policy)
    files = load_prompts(prompts_dir)
    for file in files:
        _check_schema(file)
    migrated = migrate(owner_url)
    with connect(owner_url, setting="HEADRACE_OWNER_DATABASE_URL") as connection, connection.transaction():
        # as the operators' role, which may publish defaults and is bound by row security like everybody
        connection.execute("set local role headrace_ops")
        connection.execute("select headrace.wait_for_chore('provision')")
        stored_policy.sync_features(
            connection,
            [
                PublishedFeature(one.name, one.description, one.user_requests_per_minute)
                for one in policy.features.values()
            ],
        )
        stored_policy.sync_lanes(connection, lanes)
        new_prompts = sum(
            prompts.publish_default(
                connection,
                name=file.name,
                description=file.description,
                body=file.body,
                variables={name: variable.max_chars for name, variable in file.variables.items()},
                output_schema=file.output_schema,
                max_output_tokens=file.max_output_tokens,
                min_output_tokens=file.min_output_tokens,
                actor="migrate",
            )
            for file in files
        )
        new_prices = price_sync.sync(connection, routed_models(policy)).changes
    return Provisioned(migrated, new_prompts, len(new_prices))


def routed_models(policy: Policy) -> set[tuple[str, str]]:
    """Every (provider, model) that the policy can route to."""
    return {
        (target.provider, target.model)
        for tier in policy.tiers.values()
        for target in (tier.primary, tier.backup)
        if target is not None
    }


def _check_schema(file: PromptFile) -> None:
    """Hold a prompt's schema against the bounds that the claim of each of its jobs will."""
    if file.output_schema is None:
        return
    try:
        check_schema(file.output_schema)
    except InvalidSchemaError as error:
        raise InvalidSchemaError(
            f"the prompt {file.name}: {error.message}", field=error.field, value=error.value, hint=error.hint
        ) from error
