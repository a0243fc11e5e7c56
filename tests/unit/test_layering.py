"""What imports what; and that the command line answers without TensorFlow."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tfx_registry

PACKAGE = Path(tfx_registry.__file__).parent
HEAVY = (
    "tensorflow",
    "tfx",
    "apache_beam",
    "tensorflow_model_analysis",
    "keras",
    "numpy",
    "pandas",
)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def modules(folder: str) -> list[Path]:
    found = sorted((PACKAGE / folder).rglob("*.py"))
    assert found, folder
    return found


def core_modules() -> list[Path]:
    outside = (PACKAGE / "components", PACKAGE / "pipelines")
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if not any(folder in path.parents for folder in outside)
    ]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        (
            "serving",
            ["registry", "gate", "cli", "promotion", "operations", "components", "pipelines"],
        ),
        (
            "gate",
            ["registry", "serving", "cli", "promotion", "operations", "components", "pipelines"],
        ),
        (
            "registry",
            ["gate", "serving", "cli", "promotion", "operations", "components", "pipelines"],
        ),
        ("components", ["cli", "pipelines"]),
    ],
)
def test_dependence_goes_one_way(folder: str, forbidden: list[str]) -> None:
    prefixes = tuple(f"tfx_registry.{name}" for name in forbidden)
    wrong = [
        f"{path.name} imports {name}"
        for path in modules(folder)
        for name in imports(path)
        if name.startswith(prefixes)
    ]
    assert wrong == []


def test_the_core_imports_no_tensorflow() -> None:
    wrong = [
        f"{path.name} imports {name}"
        for path in core_modules()
        for name in imports(path)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "statement",
    [
        "import tfx_registry",
        "import tfx_registry.registry",
        "import tfx_registry.cli.main",
        "from tfx_registry import ModelRegistry; ModelRegistry.open('sqlite:///r.sqlite')",
        "import tfx_registry.components",
        "import tfx_registry.pipelines",
        "from tfx_registry.cli.main import main; assert main(['--registry', 'sqlite:///r.sqlite',"
        " 'register', 'penguin', __file__]) == 0",
    ],
)
def test_loaded_modules(statement: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import json, sys\n{statement}\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in loaded if name in HEAVY] == []
    assert "tfx_registry" in loaded


def test_public_names_exist() -> None:
    for name in tfx_registry.__all__:
        assert getattr(tfx_registry, name) is not None
    assert sorted(tfx_registry.__all__) == dir(tfx_registry)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tfx_registry.nothing  # noqa: B018 - the access is the test
