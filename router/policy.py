"""The routing policy: the features, and the models behind the tiers.

A YAML file is checked when a process starts, and again when it is reread (:mod:`router.current_policy`). Inside, a
policy is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from errors import ConfigurationError, InvalidInputError
from storage.db import names
from wording import describe

PROVIDERS = ("openai", "anthropic")
SHIPPED_POLICY = Path(__file__).with_name("policy.yaml")


@dataclass(frozen=True, slots=True)
class Target:
    """One model at one provider."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Tier:
    """The model that answers, and the backup at the other provider (``None``: there is no backup)."""

    name: str
    primary: Target
    backup: Target | None


@dataclass(frozen=True, slots=True)
class Feature:
    """The features that callers may ask for.

    ``default_max_output_tokens`` applies to a job without a limit of its own; ``max_input_chars`` caps the input, in
    characters. ``user_requests_per_minute`` is the limit of each user for this feature, in a count of its own;
    ``None``: its requests count with the user's others.
    """

    name: str
    description: str
    hard: bool
    reports: bool
    default_max_output_tokens: int
    max_input_chars: int
    user_requests_per_minute: int | None


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked routing policy."""

    features: Mapping[str, Feature]
    tiers: Mapping[str, Tier]
    long_input_tokens: int
    input_margins: Mapping[str, float]  # model → factor on the bound of its input tokens
    hard_features: frozenset[str]
    report_features: frozenset[str]

    def tier(self, name: str) -> Tier:
        """The tier of this name.

        :raises InvalidInputError: there is none.
        """
        try:
            return self.tiers[name]
        except KeyError:
            raise InvalidInputError(
                "no such tier", field="tier", value=name, hint=f"Tiers: {', '.join(self.tiers)}."
            ) from None


def load_policy(path: Path | None) -> Policy:
    """The policy in the YAML file at ``path``, or the shipped one when it is ``None``.

    :raises ConfigurationError: the file cannot be read or breaks a rule; it names the file and the field.
    """
    path = path or SHIPPED_POLICY
    entries = _read(path)
    try:
        checked = _PolicyFile.model_validate(entries)
    except ValidationError as error:
        raise _broken(path, error) from error
    features = {name: _feature(name, entry) for name, entry in checked.features.items()}
    features.setdefault("chat", _feature("chat", _FeatureEntry(description="A conversation with a user.")))
    return Policy(
        features=MappingProxyType(features),
        tiers=MappingProxyType(
            {"cheap": _tier("cheap", checked.tiers.cheap), "strong": _tier("strong", checked.tiers.strong)}
        ),
        long_input_tokens=checked.long_input_tokens,
        input_margins=MappingProxyType(dict(checked.input_margins)),
        hard_features=frozenset(name for name, feature in features.items() if feature.hard),
        report_features=frozenset(name for name, feature in features.items() if feature.reports),
    )


# ------------------------------------------------------------------------------------------ the file, as it comes in


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _TargetEntry(_Entry):
    provider: Literal["openai", "anthropic"]  # PROVIDERS says the same
    model: Annotated[str, StringConstraints(pattern=r"^\S+$")]


class _TierEntry(_Entry):
    primary: _TargetEntry
    backup: _TargetEntry | None = None

    @model_validator(mode="after")
    def _backup_is_elsewhere(self) -> _TierEntry:
        if self.backup is not None and self.backup.provider == self.primary.provider:
            raise ValueError("the backup must be at another provider than the primary")
        return self


class _TiersEntry(_Entry):
    cheap: _TierEntry
    strong: _TierEntry


class _FeatureEntry(_Entry):
    description: Annotated[str, StringConstraints(min_length=1)]
    hard: bool = False
    reports: bool = False
    default_max_output_tokens: int = Field(1024, ge=1)
    max_input_chars: int = Field(200_000, ge=1, le=2**31 - 1)
    user_requests_per_minute: int | None = Field(None, ge=1, le=2**31 - 1)


_FeatureName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,60}$")]


class _PolicyFile(_Entry):
    tiers: _TiersEntry
    features: dict[_FeatureName, _FeatureEntry] = Field(default_factory=dict)
    long_input_tokens: int = Field(20_000, ge=1)
    input_margins: dict[str, Annotated[float, Field(ge=0.1, le=10)]] = Field(default_factory=dict)


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the routing policy {path} cannot be read: {_why(error)}", field="routing_policy"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"the routing policy {path} is not valid YAML: {error}", field="routing_policy"
        ) from error


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not UTF-8"


def _broken(path: Path, error: ValidationError) -> ConfigurationError:
    """The first error in the reader's words; the others only by their fields."""
    breaches = error.errors(include_url=False)
    fields = [".".join(str(part) for part in breach["loc"]) or "(whole file)" for breach in breaches]
    also = f"Also wrong: {', '.join(fields[1:])}." if len(fields) > 1 else None
    message, given = describe(breaches[0]), breaches[0]["input"]
    if breaches[0]["type"] == "literal_error" and isinstance(given, str):  # of a provider
        message = "no such provider"
        also = " ".join(filter(None, [names.did_you_mean(given, PROVIDERS), also]))
    return ConfigurationError(
        f"the routing policy {path} is wrong here: {message}",
        field=fields[0],
        value=None if breaches[0]["type"] == "missing" else given,
        hint=also,
        file=str(path),
    )


def _target(entry: _TargetEntry) -> Target:
    return Target(entry.provider, entry.model)


def _tier(name: str, entry: _TierEntry) -> Tier:
    return Tier(name, _target(entry.primary), _target(entry.backup) if entry.backup else None)


def _feature(name: str, entry: _FeatureEntry) -> Feature:
    return Feature(name=name, **entry.model_dump())
