"""The body of ``POST /v1/messages``, as far as the simulator uses it; other fields are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _ContentPart(BaseModel):
    model_config = ConfigDict(extra="allow")


class CacheControl(_ContentPart):
    """Marks the end of a prefix that may be cached."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class Block(_ContentPart):
    """A piece of a message. Pictures and documents are refused: the simulator cannot read them."""

    type: Literal["text", "tool_use", "tool_result", "thinking", "redacted_thinking"]
    text: str = ""
    input: dict[str, Any] | None = None
    content: str | list[Block] | None = None
    cache_control: CacheControl | None = None


class RequestMessage(_ContentPart):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class SystemBlock(_ContentPart):
    """A piece of the system prompt."""

    type: Literal["text"]
    text: str
    cache_control: CacheControl | None = None


class ToolDefinition(_ContentPart):
    """A tool that the model may call."""

    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    cache_control: CacheControl | None = None


class ToolChoice(_ContentPart):
    """Whether and which tool is called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class OutputFormat(_ContentPart):
    """The schema that the answer has to match."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(_ContentPart):
    """How the answer is to look."""

    format: OutputFormat | None = None


class MessagesBody(_ContentPart):
    """The request."""

    model: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=0)]
    messages: Annotated[list[RequestMessage], Field(min_length=1, max_length=100_000)]
    system: str | list[SystemBlock] | None = None
    output_config: OutputConfig | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: ToolChoice | None = None
    stop_sequences: list[str] | None = None
    cache_control: CacheControl | None = None
    stream: bool | None = None
    service_tier: Literal["auto", "standard_only"] = "auto"
