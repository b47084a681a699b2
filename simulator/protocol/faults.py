"""The faults of a provider, their rate and their number; set with ``PUT /_sim/behaviour``."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Provider = Literal["openai", "anthropic"]
FaultName = Literal[
    "none",
    "400",
    "429",
    "500",
    "529",
    "hang",
    "cut",
    "malformed",
    "drip",
    "auth",
    "flood",
    "bomb",
    "empty",
    "error_200",
    "absurd_usage",
]

LONGEST_LATENCY_MS = 600_000


def _as_text(value: Any) -> Any:
    """Let 429 stand for "429", and null for "none"."""
    if value is None:
        return "none"
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _possible_latency(value: float | tuple[float, float]) -> float | tuple[float, float]:
    low, high = value if isinstance(value, tuple) else (value, value)
    if not 0 <= low <= high <= LONGEST_LATENCY_MS:
        raise ValueError(f"must be a time, or [low, high], between 0 and {LONGEST_LATENCY_MS} ms")
    return value


class Behaviour(BaseModel):
    """The behaviour of one provider."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    latency_ms: Annotated[
        float | tuple[float, float],
        AfterValidator(_possible_latency),
        Field(description="time before an answer begins, ms; [low, high] draws it evenly"),
    ] = 0.0
    fault: Annotated[FaultName, BeforeValidator(_as_text), Field(description="the fault of calls that go wrong")] = (
        "none"
    )
    fault_rate: float = Field(1.0, ge=0, le=1, description="share of the calls that go wrong")
    fault_count: int | None = Field(
        None, ge=0, description="number of calls that go wrong, then none do; null is no limit"
    )
    retry_after_s: float | None = Field(None, ge=0, description="Retry-After of a 429, s; null sends none")
    service_tier: str | None = Field(
        None, pattern=r"^[a-z_]{1,40}$", description="tier of calls that leave it open; null is the standard one"
    )


class Behaviours(BaseModel):
    """The behaviour to set: providers and fields that are absent stay as they are.

    Naming a ``fault`` starts it afresh: a rate, count or Retry-After that an earlier fault had does not linger.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    openai: Behaviour | None = None
    anthropic: Behaviour | None = None


@dataclass(frozen=True, slots=True)
class FaultDraw:
    """The outcome of one call."""

    fault: FaultName
    latency_s: float
    retry_after_s: float | None
    service_tier: str | None


class Faults:
    """Decides each call from the seed and the call's number, so that a run can be repeated."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._behaviour: dict[Provider, Behaviour] = {"openai": Behaviour(), "anthropic": Behaviour()}
        self._drawn: dict[Provider, int] = {"openai": 0, "anthropic": 0}

    def set(self, wanted: Behaviours) -> None:
        """Put the given fields into force."""
        if wanted.openai is not None:
            self._set_one("openai", wanted.openai)
        if wanted.anthropic is not None:
            self._set_one("anthropic", wanted.anthropic)

    def describe(self) -> dict[str, Any]:
        """Both providers' behaviour as it is now; ``fault_count`` is the number of faults that remain."""
        return {provider: behaviour.model_dump(mode="json") for provider, behaviour in self._behaviour.items()}

    def draw(self, provider: Provider) -> FaultDraw:
        """The verdict on this provider's next call."""
        number = self._drawn[provider]
        self._drawn[provider] = number + 1
        behaviour = self._behaviour[provider]
        chance, spread = self._throw(provider, number)
        fault: FaultName = "none"
        if behaviour.fault != "none" and chance < behaviour.fault_rate:
            fault = behaviour.fault
            self._count_down(provider, behaviour)
        low, high = (
            behaviour.latency_ms
            if isinstance(behaviour.latency_ms, tuple)
            else (behaviour.latency_ms, behaviour.latency_ms)
        )
        latency_s = (low + (high - low) * spread) / 1000
        return FaultDraw(fault, latency_s, behaviour.retry_after_s, behaviour.service_tier)

    def _set_one(self, provider: Provider, change: Behaviour) -> None:
        before = self._behaviour[provider]
        if "fault" in change.model_fields_set:
            before = _over(before)
        after = before.model_copy(update={name: getattr(change, name) for name in change.model_fields_set})
        self._behaviour[provider] = _over(after) if after.fault_count == 0 else after

    def _count_down(self, provider: Provider, behaviour: Behaviour) -> None:
        if behaviour.fault_count is None:
            return
        left = behaviour.model_copy(update={"fault_count": behaviour.fault_count - 1})
        self._behaviour[provider] = _over(left) if left.fault_count == 0 else left

    def _throw(self, provider: Provider, number: int) -> tuple[float, float]:
        digest = blake2b(f"{self._seed}/{provider}/{number}".encode(), digest_size=12).digest()
        return int.from_bytes(digest[:6], "big") / 2**48, int.from_bytes(digest[6:], "big") / 2**48


def _over(behaviour: Behaviour) -> Behaviour:
    """The behaviour once its faults are used up."""
    return Behaviour(latency_ms=behaviour.latency_ms, service_tier=behaviour.service_tier)
