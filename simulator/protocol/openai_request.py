"""The body of ``POST /v1/responses``, as far as the simulator uses it; other fields are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class TextPart(_Part):
    """A piece of a message. Pictures, files and sound are refused: the simulator cannot read them."""

    type: Literal["input_text", "output_text", "text", "refusal"]
    text: str = ""


class InputItem(_Part):
    """A message, or a call of a function or its result."""

    type: Literal["message", "function_call", "function_call_output", "reasoning", "item_reference"] = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[TextPart] | None = None
    arguments: str = ""
    output: str | list[TextPart] = ""

    @model_validator(mode="before")
    @classmethod
    def _reasoning_is_opaque(cls, value: Any) -> Any:
        return {"type": "reasoning"} if isinstance(value, dict) and value.get("type") == "reasoning" else value

    @property
    def texts(self) -> list[str]:
        held = self.arguments if self.type == "function_call" else self.content
        if self.type == "function_call_output":
            held = self.output
        if isinstance(held, list):
            return [part.text for part in held if part.text]
        return [held] if held else []


class TextFormat(_Part):
    """The format of the answer's text."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class TextConfig(_Part):
    """The answer's text."""

    format: TextFormat | None = None


class FunctionTool(_Part):
    """A tool; only functions are ever called."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ResponsesBody(_Part):
    """The request."""

    model: Annotated[str, Field(min_length=1)]
    input: str | list[InputItem] | None = None
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=16)] | None = None
    text: TextConfig | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    metadata: dict[str, Annotated[str, Field(max_length=512)]] | None = None
    stream: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None = None
