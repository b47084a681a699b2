"""Is the model's answer what was asked for? Text as it is; JSON read and checked against the schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from errors import OutputInvalidError
from guards.schemas import mismatch
from router.providers.calls import CallReply


def read_answer(reply: CallReply, schema: Mapping[str, Any] | None) -> tuple[str, Any]:
    """The answer's text (without characters that Postgres cannot keep) and, when a schema was asked for, its value.

    Raises :class:`errors.OutputInvalidError` when the text is no JSON or does not match the schema (checked before).
    """
    text = reply.text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    if schema is None or reply.finish == "refusal":
        return text, None
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        cut = " (cut at max_output_tokens)" if reply.finish == "length" else ""
        raise OutputInvalidError(f"the answer is no JSON{cut}: {error}", finish=reply.finish) from error
    why = mismatch(value, schema)
    if why is not None:
        raise OutputInvalidError(f"the answer does not match the output schema {why}", finish=reply.finish)
    return text, value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
