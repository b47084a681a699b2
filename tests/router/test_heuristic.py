"""The routing rules, against the golden table in ``golden_routing.yaml``."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from router import heuristic
from router.heuristic import JobTraits, choose_tier, has_code_block

HARD = frozenset({"sql_generation", "code_review", "legal_summary"})
GOLDEN = yaml.safe_load((Path(__file__).parent / "golden_routing.yaml").read_text(encoding="utf-8"))


def traits(feature="chat", plan="free", input_tokens=10, has_code_block=False, force_tier=None):
    return JobTraits(feature, plan, input_tokens, has_code_block, force_tier)


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_choose_tier_follows_the_golden_table(case):
    job = traits(**case["job"])

    assert choose_tier(job, hard_features=HARD) == (case["tier"], case["rule"])


def test_the_golden_table_reaches_every_rule():
    rules = {"forced", "enterprise_report", "long_input", "hard_feature", "code_block", "default"}

    assert {case["rule"] for case in GOLDEN} == rules


def test_a_forced_tier_that_is_none_is_refused():
    with pytest.raises(ValueError, match="medium"):
        choose_tier(traits(force_tier="medium"), hard_features=HARD)


def test_the_threshold_is_the_policys():
    job = traits(input_tokens=101)

    assert choose_tier(job, hard_features=HARD, long_input_tokens=100)[1] == "long_input"
    assert choose_tier(job, hard_features=HARD, long_input_tokens=101)[1] == "default"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```python\nprint()\n```", True),
        ("Look:\n\n```\nx = 1\n```\nwhy?", True),
        ("   ~~~sql\nselect 1\n~~~", True),
        ("an opening fence at the end counts\n```", True),
        ("", False),
        ("a few `words` in ticks", False),
        ("three ``` ticks inside a line", False),
        ("    ```\n    indented by four: text, in Markdown", False),
        ("def f(): return 1", False),
        ("please select a colour from the list", False),
    ],
)
def test_has_code_block_sees_fences_only(text, expected):
    assert has_code_block(text) is expected


def test_the_heuristic_imports_nothing_of_ours():
    source = Path(heuristic.__file__).read_text(encoding="utf-8")
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}

    assert imported <= {"__future__", "re", "dataclasses"}
