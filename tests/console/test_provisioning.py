"""What is wrong with a prompt is told when it is published, not by each of its jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.provisioning import provision
from errors import InvalidSchemaError

PROMPT = """---
name: coded
description: Answers with a code.
variables:
  message: {description: What the user wrote.}
max_output_tokens: 100
output_schema: {type: object, properties: {code: {pattern: "(?=a)b"}}}
---
## user
{{ message }}
"""


def test_a_prompt_whose_schema_no_job_could_use_is_refused_before_the_database_is_asked(tmp_path: Path) -> None:
    (tmp_path / "coded.md").write_text(PROMPT)
    with pytest.raises(InvalidSchemaError, match="the prompt coded") as refused:
        provision("postgresql://nobody@127.0.0.1:9/nowhere", lanes={}, prompts_dir=tmp_path)
    assert refused.value.field == "output_schema.properties.code.pattern"
