"""What the packaging tests share: the repository, its tools, and one built wheel."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What a build reads, apart from the three source folders.
BUILD_FILES = (
    ".python-version",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "MANIFEST.in",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "setup.py",
)


@dataclass(frozen=True)
class Built:
    """A source tree copied aside, and what was built from it."""

    tree: Path
    sdist: Path
    wheel: Path


def load_tool(name: str) -> ModuleType:
    """Loads a file of tools/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def repository() -> Path:
    return ROOT


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The bootstrap tool, with its state in a scratch folder."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    module = load_tool("bootstrap")
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setattr(module.running, "STATE", state)
    return module


@pytest.fixture(scope="session")
def compile_constraints() -> ModuleType:
    return load_tool("compile_constraints")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist of the sources, and the wheel built from that sdist.

    Built in a copy, so that the repository gets no build/ and no *.egg-info, and without an
    isolated environment, so that no package index is asked.
    """
    base = tmp_path_factory.mktemp("build")
    tree, out = base / "tree", base / "dist"
    tree.mkdir()
    for name in BUILD_FILES:
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, tree / name)
    for name in ("src", "components", "pipelines"):
        shutil.copytree(
            ROOT / name,
            tree / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return Built(tree, sdist, wheel)
