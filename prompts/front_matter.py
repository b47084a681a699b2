"""Prompts as files: YAML front matter, then the body.

::

    ---
    name: chat
    description: Answers one message.
    variables:
      message: {description: What the user wrote., max_chars: 8000}
    max_output_tokens: 800
    ---
    ## user
    {{ message }}

A file that loads is a prompt that renders: every later error is caught here, with the file and the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from jsonschema import Draft202012Validator, SchemaError
from jsonschema.validators import validator_for
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from errors import ConfigurationError, InvalidInputError, InvalidPromptError, InvalidSchemaError
from prompts.render import placeholders
from wording import describe

_SHIPPED: Final = Path(__file__).parent
_FILE: Final = re.compile(r"---[ \t]*\n(?P<head>.*?\n)---[ \t]*(?:\n(?P<body>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that a prompt declares."""

    description: str
    max_chars: int
    """The longest accepted value, in characters (code points)."""


@dataclass(frozen=True, slots=True)
class PromptFile:
    """One prompt, as its file says it."""

    name: str
    description: str
    body: str
    """The template, as stored: everything after the front matter."""
    variables: Mapping[str, Variable]
    max_output_tokens: int
    min_output_tokens: int | None
    """The least output that is still useful, in tokens; ``None``: the output must not be shortened."""
    output_schema: Mapping[str, Any] | None
    """JSON schema that the answer must match; ``None``: the answer is prose."""


def load_prompts(directory: Path | None) -> list[PromptFile]:
    """Every ``*.md`` of ``directory`` (``None``: the shipped prompts), sorted by name.

    :raises ConfigurationError: the folder is missing or holds no prompt.
    :raises InvalidPromptError: a file is not a prompt, or two files use one name.
    :raises InvalidSchemaError: an ``output_schema`` is not a JSON schema.
    """
    folder = _SHIPPED if directory is None else directory
    if not folder.is_dir():
        raise ConfigurationError("no such folder of prompts", field="prompts_dir", value=str(folder))
    found: dict[str, tuple[Path, PromptFile]] = {}
    for path in sorted(folder.glob("*.md")):
        prompt = load_prompt(path)
        if prompt.name in found:
            raise InvalidPromptError(
                f"{path} uses a name that {found[prompt.name][0].name} has already",
                field="name",
                value=prompt.name,
                hint="Rename one of them.",
            )
        found[prompt.name] = (path, prompt)
    if not found:
        raise ConfigurationError("holds no prompt (*.md)", field="prompts_dir", value=str(folder))
    return [prompt for _, (_, prompt) in sorted(found.items())]


def load_prompt(path: Path) -> PromptFile:
    """The prompt in the file at ``path``.

    :raises InvalidPromptError: it is not a prompt; the message names the file, ``field`` what is wrong in it.
    :raises InvalidSchemaError: its ``output_schema`` is not a JSON schema.
    """
    try:
        return _prompt(_text(path))
    except InvalidInputError as error:
        raise type(error)(f"{path}: {error.message}", field=error.field, value=error.value, hint=error.hint) from error


class _VariableHead(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    description: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
    max_chars: int = Field(20_000, ge=1)


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=61)]
    description: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
    variables: dict[str, _VariableHead]
    max_output_tokens: int = Field(ge=1)
    min_output_tokens: int | None = Field(None, ge=1)
    output_schema: dict[str, Any] | None = None


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a repeated key: neither of two ``max_output_tokens`` may silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidPromptError(f"cannot be read: {why}") from error


def _prompt(text: str) -> PromptFile:
    parts = _FILE.fullmatch(text)
    if parts is None:
        raise InvalidPromptError("has no front matter", hint="Begin with YAML between two lines that read: ---")
    head = _head(parts["head"])
    body = parts["body"] or ""
    if head.min_output_tokens is not None and head.min_output_tokens > head.max_output_tokens:
        raise InvalidPromptError(
            "must not exceed max_output_tokens", field="min_output_tokens", value=head.min_output_tokens
        )
    if head.output_schema is not None:
        _check_schema(head.output_schema)
    _check_placeholders(placeholders(body), head.variables.keys())
    return PromptFile(
        name=head.name,
        description=head.description,
        body=body,
        variables={name: Variable(each.description, each.max_chars) for name, each in head.variables.items()},
        max_output_tokens=head.max_output_tokens,
        min_output_tokens=head.min_output_tokens,
        output_schema=head.output_schema,
    )


def _head(text: str) -> _Head:
    try:
        fields = yaml.load(text, _StrictLoader)  # noqa: S506 - a SafeLoader, stricter
    except yaml.YAMLError as error:
        raise InvalidPromptError(f"its front matter is not YAML: {error}", field="front matter") from error
    try:
        return _Head.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "front matter"
        value = None if first["type"] == "missing" else first["input"]
        raise InvalidPromptError(describe(first), field=where, value=value) from error


def _check_schema(schema: dict[str, Any]) -> None:
    # YAML knows more than JSON (dates, numbers as keys); values that the database would change are refused.
    try:
        survives = json.loads(json.dumps(schema, allow_nan=False)) == schema
    except (TypeError, ValueError):
        survives = False
    if not survives:
        raise InvalidSchemaError(
            "holds something that JSON cannot hold", field="output_schema", hint="Quote dates and numeric keys."
        )
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        where = ".".join(["output_schema", *(str(step) for step in error.absolute_path)])
        raise InvalidSchemaError(f"is not a JSON schema: {error.message}", field=where) from error


def _check_placeholders(used: Set[str], declared: Set[str]) -> None:
    if undeclared := sorted(used - declared):
        raise InvalidPromptError(
            "the body uses this variable but the front matter does not declare it",
            field=f"variables.{undeclared[0]}",
            hint="Declare it or take it out of the body.",
        )
    if unused := sorted(declared - used):
        raise InvalidPromptError(
            "the front matter declares this variable but the body does not use it",
            field=f"variables.{unused[0]}",
            hint="Use it or remove it.",
        )
