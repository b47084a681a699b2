"""Every setting, once.

Read from the environment with the prefix ``HEADRACE_`` (and the providers' own key names). Only composition roots read
it: ``console/`` and the default client in ``producers/enqueue.py``; all other code gets what it needs as arguments. An
empty variable counts as unset.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The settings of one process. Times are in the unit that the name says; money is in USD."""

    model_config = SettingsConfigDict(
        env_prefix="HEADRACE_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # -- where the services are; unset means the embedded default in `dir`
    database_url: SecretStr | None = Field(None, description="Postgres as headrace_app (tenant-bound)")
    ops_database_url: SecretStr | None = Field(None, description="Postgres as headrace_ops (scheduler, console)")
    owner_database_url: SecretStr | None = Field(None, description="Postgres as a member of headrace_owner (migrate)")
    redis_url: SecretStr | None = Field(None, description="Redis or Valkey, redis:// or redis+cluster://")
    broker_url: SecretStr | None = Field(
        None, description="the wire for turns, redis://, redis+cluster:// or amqp://; the Redis URL if unset"
    )
    dir: Path = Field(Path(".headrace"), description="directory of the private services")

    # -- providers
    openai_api_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("HEADRACE_OPENAI_API_KEY", "OPENAI_API_KEY"), description="OpenAI's API key"
    )
    anthropic_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("HEADRACE_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY"),
        description="Anthropic's API key",
    )
    openai_base_url: str | None = Field(None, description="OpenAI-compatible server or gateway; OpenAI's own if unset")
    anthropic_base_url: str | None = Field(None, description="Anthropic-compatible server or gateway")
    gateway_retries: bool = Field(
        True,
        description="a gateway behind a base URL may repeat calls by itself, so its 500 and 502 may be billed",
    )
    call_tags: bool = Field(
        True, description="calls carry `metadata`, `safety_identifier` and `service_tier`, which some gateways refuse"
    )
    simulator_url: str | None = Field(None, description="the simulator that answers: its URL, or `private`")
    call_timeout_s: float = Field(30.0, gt=0, description="total time of one provider call, s")
    answer_max_bytes: int = Field(
        8 * 1024 * 1024, ge=65_536, description="largest answer of a provider, on the wire and unpacked, bytes"
    )
    answer_max_chars: int = Field(2_000_000, ge=1_000, description="longest text of an answer, characters")
    breaker_fail_max: int = Field(5, ge=1, description="consecutive failures that open a provider's breaker")
    breaker_reset_s: float = Field(10.0, gt=0, description="time for which an open breaker blocks all calls, s")

    # -- billing; without a key nothing is sent
    stripe_api_key: SecretStr | None = Field(None, description="Stripe's secret or restricted key, for meter events")
    stripe_meter_event: str = Field(
        "headrace_micro_usd", min_length=1, max_length=100, description="event name of the meter at Stripe"
    )
    stripe_base_url: str | None = Field(None, description="Stripe-compatible server; Stripe itself if unset")

    # -- policy
    routing_policy: Path | None = Field(None, description="a routing policy of your own; the shipped one if unset")
    prompts_dir: Path | None = Field(None, description="a folder of prompts of your own; the shipped one if unset")

    # -- jobs
    max_attempts: int = Field(3, ge=1, description="attempts before a job is dead-lettered")
    retry_base_s: float = Field(1.0, gt=0, description="first backoff, s; doubled each attempt, with full jitter")
    retry_cap_s: float = Field(60.0, gt=0, description="longest backoff, s")
    held_max_s: float = Field(
        86_400.0, gt=0, description="longest time that a job without a deadline waits for unavailable providers, s"
    )
    claim_timeout_s: float = Field(300.0, gt=0, description="age at which a claim counts as hung, s")
    idempotency_days: int = Field(30, ge=1, description="days that an idempotency key is remembered")
    history_days: int = Field(
        90, ge=1, description="days that job events, sent events and notices of the outbox are kept"
    )

    # -- processes
    heartbeat_s: float = Field(3.0, gt=0, description="time between a worker process's heartbeats, s")
    worker_silent_s: float = Field(10.0, gt=0, description="time without heartbeat before jobs are reclaimed, s")
    drain_s: float = Field(30.0, ge=0, description="time for running calls in a drain, s; then jobs are released")
    turns_per_tenant: int = Field(64, ge=1, description="most turns of a tenant that are outstanding on the wire (W)")
    lane_weights: dict[str, int] = Field(
        {"interactive": 9, "batch": 1}, description="lanes and their weights, as a JSON object"
    )
    log_format: str = Field("auto", pattern="^(auto|json|console)$", description="log lines for people or programs")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="lowest level that is logged")

    @property
    def wire_setting(self) -> str:
        """The variable that the wire's URL comes from."""
        return "HEADRACE_REDIS_URL" if self.broker_url is None else "HEADRACE_BROKER_URL"

    @field_validator("lane_weights")
    @classmethod
    def _lanes_make_sense(cls, lanes: dict[str, int]) -> dict[str, int]:
        if not lanes or any(weight < 1 for weight in lanes.values()):
            raise ValueError("needs at least one lane, each with a weight of 1 or more")
        return lanes


def reveal(secret: SecretStr | None) -> str | None:
    """The text of a secret setting, for the place that has to use it."""
    return secret.get_secret_value() if secret is not None else None
