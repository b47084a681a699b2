from __future__ import annotations

from pathlib import Path

import pytest

from errors import ConfigurationError, InvalidPromptError, InvalidSchemaError
from prompts.front_matter import Variable, load_prompt, load_prompts

HEAD = """\
name: greet
description: Greets somebody.
variables:
  who: {description: Their name., max_chars: 80}
  where: {description: A place.}
max_output_tokens: 200
min_output_tokens: 20
output_schema:
  type: object
  properties: {text: {type: string}}
"""
BODY = "\n## user\nGreet {{ who }} in {{ where }}.\n---\nThe end.\n"


def write(path: Path, head: str = HEAD, body: str = BODY) -> Path:
    path.write_text(f"---\n{head}---\n{body}", encoding="utf-8")
    return path


def test_load_prompt_reads_every_field(tmp_path: Path) -> None:
    prompt = load_prompt(write(tmp_path / "greet.md"))

    assert prompt.name == "greet"
    assert prompt.description == "Greets somebody."
    assert prompt.variables == {"who": Variable("Their name.", 80), "where": Variable("A place.", 20_000)}
    assert (prompt.max_output_tokens, prompt.min_output_tokens) == (200, 20)
    assert prompt.output_schema == {"type": "object", "properties": {"text": {"type": "string"}}}
    assert prompt.body == BODY


def test_minimum_and_schema_may_be_left_out(tmp_path: Path) -> None:
    head = "name: hello\ndescription: Says hello.\nvariables: {}\nmax_output_tokens: 5\n"
    prompt = load_prompt(write(tmp_path / "hello.md", head, "## user\nSay hello."))

    assert prompt.variables == {}
    assert prompt.min_output_tokens is None
    assert prompt.output_schema is None


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "greet.md"
    path.write_bytes(b"\xef\xbb\xbf" + f"---\n{HEAD}---\n{BODY}".replace("\n", "\r\n").encode())
    assert load_prompt(path).body == BODY


@pytest.mark.parametrize(
    ("old", "new", "field", "problem"),
    [
        ("name: greet", "name: Greet Me", "name", "must have the form"),
        ("name: greet\n", "", "name", "is missing"),
        ("description: Greets somebody.\n", "", "description", "is missing"),
        ("max_output_tokens: 200\n", "", "max_output_tokens", "is missing"),
        ("max_output_tokens: 200", 'max_output_tokens: "200"', "max_output_tokens", "whole number"),
        ("max_output_tokens: 200", "max_output_tokens: 0", "max_output_tokens", "must be 1 or more"),
        ("min_output_tokens: 20", "min_output_tokens: 201", "min_output_tokens", "must not exceed"),
        ("min_output_tokens: 20", "minimum: 20", "minimum", "not a known field"),
        ("max_chars: 80", "max_chars: 0", "variables.who.max_chars", "must be 1 or more"),
        ("max_chars: 80", "longest: 80", "variables.who.longest", "not a known field"),
        ("{description: A place.}", "A place.", "variables.where", "object of names and values"),
        ("  where: {description: A place.}\n", "", "variables.where", "does not declare it"),
        ("max_output_tokens", "  when: {description: A time.}\nmax_output_tokens", "variables.when", "does not use it"),
        ("max_output_tokens: 200", "max_output_tokens: 200\nmax_output_tokens: 9000", "front matter", "given twice"),
        ("name: greet", "name: [greet", "front matter", "not YAML"),
        (HEAD, "- a list\n", "front matter", "object of names and values"),
        (HEAD, "\n", "front matter", "object of names and values"),
    ],
)
def test_a_bad_field_is_named_with_its_file(tmp_path: Path, old: str, new: str, field: str, problem: str) -> None:
    assert old in HEAD
    path = write(tmp_path / "greet.md", HEAD.replace(old, new, 1))

    with pytest.raises(InvalidPromptError, match=problem) as caught:
        load_prompt(path)

    assert caught.value.field == field
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ("{type: objekt}", "output_schema.type"),
        ("{properties: {text: {minLength: -1}}}", "output_schema.properties.text.minLength"),
        ("{const: 2024-01-01}", "output_schema"),
        ("{properties: {1: {type: string}}}", "output_schema"),
        ("{maximum: .nan}", "output_schema"),
    ],
)
def test_a_bad_output_schema_is_refused(tmp_path: Path, schema: str, field: str) -> None:
    head = HEAD[: HEAD.index("output_schema")] + f"output_schema: {schema}\n"
    path = write(tmp_path / "greet.md", head)

    with pytest.raises(InvalidSchemaError) as caught:
        load_prompt(path)

    assert caught.value.field == field
    assert str(path) in caught.value.message


@pytest.mark.parametrize("text", ["", "## user\nhello", "---\nname: greet\n", "\n---\nname: greet\n---\n## user\nx"])
def test_a_file_without_front_matter_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plain.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidPromptError, match=r"plain\.md: has no front matter"):
        load_prompt(path)


def test_a_malformed_body_is_refused_with_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "greet.md", body="## user\n{{ who }} {{ where")
    with pytest.raises(InvalidPromptError, match=r"greet\.md: has braces") as caught:
        load_prompt(path)
    assert caught.value.field == "body"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.md"
    path.write_bytes(b"---\n\xff\xfe\n---\n")
    with pytest.raises(InvalidPromptError, match=r"binary\.md: cannot be read"):
        load_prompt(path)
    with pytest.raises(InvalidPromptError, match=r"nowhere\.md: cannot be read"):
        load_prompt(tmp_path / "nowhere.md")


def test_load_prompts_sorts_by_name_and_reads_only_markdown(tmp_path: Path) -> None:
    write(tmp_path / "a.md", HEAD.replace("name: greet", "name: zebra"))
    write(tmp_path / "b.md", HEAD.replace("name: greet", "name: ant"))
    (tmp_path / "notes.txt").write_text("no prompt")
    assert [prompt.name for prompt in load_prompts(tmp_path)] == ["ant", "zebra"]


def test_load_prompts_refuses_a_name_given_twice(tmp_path: Path) -> None:
    write(tmp_path / "first.md")
    write(tmp_path / "second.md")
    with pytest.raises(InvalidPromptError, match=r"second\.md.*first\.md") as caught:
        load_prompts(tmp_path)
    assert caught.value.field == "name"


@pytest.mark.parametrize("folder", [".", "missing"])
def test_load_prompts_refuses_a_folder_without_prompts(tmp_path: Path, folder: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_prompts(tmp_path / folder)
    assert caught.value.field == "prompts_dir"
