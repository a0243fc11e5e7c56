"""docs/gate.md says what the gate does: its examples are policies, its reasons are all there."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

from tfx_registry.cli.main import cli
from tfx_registry.gate import GatePolicy, Reason

pytestmark = pytest.mark.source_tree

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "gate.md").read_text(encoding="utf-8") if (DOCS / "gate.md").exists() else ""
EXAMPLES = re.findall(r"```yaml\n# (\S+)\n([\s\S]*?)```", TEXT)


def test_every_reason_is_explained_once() -> None:
    table = TEXT.split("## Reasons")[1]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(Reason)


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_every_example_is_a_policy(name: str, text: str) -> None:
    policy = GatePolicy.from_yaml(text)
    assert GatePolicy.from_yaml(policy.to_yaml()) == policy


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == TEXT.count("```yaml") >= 5


def test_every_field_of_a_policy_is_explained() -> None:
    for field in dataclasses.fields(GatePolicy):
        assert f"`{field.name}`" in TEXT, field.name


def test_every_field_of_a_policy_is_in_an_example() -> None:
    shown = "\n".join(text for _, text in EXAMPLES)
    fields = {field.name for field in dataclasses.fields(GatePolicy)}
    assert sorted(name for name in fields if f"\n{name}:" not in f"\n{shown}") == []


def test_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        assert not path or (DOCS / path).exists(), target
        assert path or anchor in headings, target


def test_every_command_is_one() -> None:
    lines = re.findall(r"^tfx-registry (.*)$", TEXT, re.MULTILINE)
    assert len(lines) > 8
    for line in lines:
        name, *arguments = shlex.split(line, comments=True)
        command = cli.get_command(cli.make_context("tfx-registry", [name]), name)
        assert command is not None, line
        command.make_context(name, arguments)  # raises a UsageError
