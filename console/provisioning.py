"""A database's content besides its schema: features, lanes, the shipped prompts, prices of the routed models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import InvalidSchemaError
from guards.schemas import check_schema
from prompts.front_matter import PromptFile, load_prompts
from router.policy import Policy, load_policy
from storage.catalogue import policy as stored_policy
from storage.catalogue import prompts
from storage.catalogue.policy import PublishedFeature
from storage.catalogue.prompts import Published
from storage.db.connect import connect
from storage.migrate import Migrated, migrate
from storage.money import price_sync
from storage.money.prices import Change


@dataclass(frozen=True, slots=True)
class PublishedNames:
    """Features or lanes before and after, each with its figure: a feature's requests a minute, a lane's weight."""

    before: Mapping[str, int | None]
    after: Mapping[str, int | None]

    @property
    def added(self) -> list[str]:
        """Those that jobs may name from now on."""
        return [name for name in self.after if name not in self.before]

    @property
    def retired(self) -> list[str]:
        """Those that jobs may no longer name."""
        return [name for name in self.before if name not in self.after]

    @property
    def changed(self) -> dict[str, tuple[int | None, int | None]]:
        """Those whose figure changed, each with the figure before and after."""
        both = self.before.keys() & self.after.keys()
        pairs = {name: (self.before[name], self.after[name]) for name in sorted(both)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@dataclass(frozen=True, slots=True)
class Provisioned:
    """The changes. ``prompts``: every default prompt that has a file, changed or not."""

    migrated: Migrated
    features: PublishedNames
    lanes: PublishedNames
    prompts: Sequence[Published]
    prices: Sequence[Change]


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
        # As the operators' role: it may publish defaults, and row security applies to it as to every role.
        connection.execute("set local role headrace_ops")
        connection.execute("select headrace.wait_for_chore('provision')")
        features, known_lanes = stored_policy.features(connection), stored_policy.lanes(connection)
        stored_policy.sync_features(
            connection,
            [
                PublishedFeature(one.name, one.description, one.user_requests_per_minute, one.max_input_chars)
                for one in policy.features.values()
            ],
        )
        stored_policy.sync_lanes(connection, lanes)
        published = [
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
        ]
        new_prices = price_sync.sync(connection, routed_models(policy)).changes
        return Provisioned(
            migrated,
            features=PublishedNames(features, stored_policy.features(connection)),
            lanes=PublishedNames(known_lanes, stored_policy.lanes(connection)),
            prompts=published,
            prices=new_prices,
        )


def routed_models(policy: Policy) -> set[tuple[str, str]]:
    """Every (provider, model) that the policy can route to."""
    return {
        (target.provider, target.model)
        for tier in policy.tiers.values()
        for target in (tier.primary, tier.backup)
        if target is not None
    }


def _check_schema(file: PromptFile) -> None:
    """Check a prompt's schema against the bounds that the claim of each of its jobs will check."""
    if file.output_schema is None:
        return
    try:
        check_schema(file.output_schema)
    except InvalidSchemaError as error:
        raise InvalidSchemaError(
            f"the prompt {file.name}: {error.message}", field=error.field, value=error.value, hint=error.hint
        ) from error
