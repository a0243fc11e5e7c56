"""What a command loads: only what it needs, because that is most of its time."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.common import load_when_used
from tfx_registry.cli.main import SECTIONS, cli, command_name

#: Takes the place of the command line; prints what was loaded as the last line.
SCRIPT = """
import json, sys
from tfx_registry.cli.main import main
code = main(json.loads(sys.argv[1]))
print(json.dumps([code, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_a_section_names_what_its_module_defines(section: object) -> None:
    assert section in SECTIONS
    module = importlib.import_module(f"tfx_registry.cli.{section.module}")  # type: ignore[attr-defined]
    assert sorted(module.__all__) == sorted(section.names)  # type: ignore[attr-defined]


def test_each_command_is_found_by_its_word() -> None:
    context = click.Context(cli)
    words = cli.list_commands(context)
    assert len(set(words)) == len(words) == sum(len(section.names) for section in SECTIONS)
    for word in words:
        command = cli.get_command(context, word)
        assert command is not None
        assert command.name == word
    assert "verify-log" in words
    assert command_name("import_") in words
    assert cli.get_command(context, "import_") is None
    assert cli.get_command(context, "nothing") is None


@pytest.mark.parametrize(
    "words",
    [
        ["show", "penguin"],
        ["--json", "show", "penguin"],
        ["--json", "models"],
        ["--json", "history", "penguin"],
    ],
)
def test_looking_loads_neither_grpc_nor_the_other_commands(
    words: list[str], plain_model: Path, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path}/r.sqlite"
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", plain_model, metrics={"auc": 0.9})
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(["--registry", uri, *words])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, loaded = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert "ml_metadata" in loaded
    unwanted = ("grpc.", "rich", "asyncio", "tfx_registry.gate", "tfx_registry.serving",
                "tfx_registry.registry.registry", "tfx_registry.cli.finding")  # fmt: skip
    assert [name for name in loaded if name.startswith(unwanted)] == []


def test_a_module_is_loaded_when_something_in_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "slow_package"
    package.mkdir()
    (package / "__init__.py").write_text("LOADED = [1]\n", encoding="utf-8")
    (package / "part.py").write_text("from slow_package import LOADED\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        load_when_used("slow_package")
        stand_in = importlib.import_module("slow_package")
        assert "LOADED" not in vars(stand_in)
        part = importlib.import_module("slow_package.part")
        assert stand_in.LOADED is part.LOADED is sys.modules["slow_package"].LOADED
        assert sys.modules["slow_package"] is not stand_in
        with pytest.raises(AttributeError, match="nothing"):
            stand_in.nothing  # noqa: B018 - the access is the test
    finally:
        for name in ("slow_package", "slow_package.part"):
            sys.modules.pop(name, None)


def test_a_loaded_module_stays() -> None:
    load_when_used("threading")
    assert sys.modules["threading"] is threading
