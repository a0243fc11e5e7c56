"""The demo as a user runs it, once for all tests that look at what it made."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import Version
from tfx_registry.testing.beam_workers import IN_PROCESS

DEMO_SECONDS = 1500


@dataclass(frozen=True)
class Demo:
    """A finished demo.

    Attributes:
        working_dir: Where it was started.
        output: What the reader saw.
        errors: What came to the standard error.
        versions: The versions, oldest first.
    """

    working_dir: Path
    output: str
    errors: str
    versions: tuple[Version, ...]

    @property
    def root(self) -> Path:
        return self.working_dir / "demo_output"

    @staticmethod
    def run(working_dir: Path, output_dir: str = "demo_output") -> subprocess.CompletedProcess[str]:
        """Runs the demo as a user does, somewhere else."""
        return run_demo(working_dir, output_dir)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.root}/metadata.sqlite"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    working_dir = tmp_path_factory.mktemp("demo")
    done = run_demo(working_dir)
    assert done.returncode == 0, (
        done.stdout + done.stderr + (working_dir / "demo_output" / "demo.log").read_text()[-5000:]
    )
    uri = f"sqlite:///{working_dir}/demo_output/metadata.sqlite"
    with ModelRegistry.open(uri, create=False) as registry:
        versions = tuple(registry.list_versions("penguin", newest_first=False))
    return Demo(working_dir, done.stdout, done.stderr, versions)


def run_demo(
    working_dir: Path, output_dir: str = "demo_output"
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TFX_REGISTRY_ACTOR": "ada"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [sys.executable, "-m", "tfx_registry.pipelines.demo", "--output-dir", output_dir],
        cwd=working_dir,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEMO_SECONDS,
    )


@dataclass(frozen=True)
class Taxi:
    """The taxi pipeline after two runs: a good model, and one that lost every tip at night.

    Attributes:
        root: Where everything is.
    """

    root: Path

    @property
    def metadata(self) -> Path:
        return self.root / "metadata.sqlite"

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.metadata}"

    @property
    def serving(self) -> Path:
        return self.root / "serving" / "taxi"


@pytest.fixture(scope="session")
def taxi(tmp_path_factory: pytest.TempPathFactory) -> Taxi:
    from tfx_registry.pipelines.options import hidden_arguments
    from tfx_registry.pipelines.taxi.__main__ import run
    from tfx_registry.pipelines.taxi.hyperparameters import Hyperparameters

    made = Taxi(tmp_path_factory.mktemp("taxi"))
    with hidden_arguments():
        for lost in (False, True):
            run(made.root, Hyperparameters(night_tips_lost=lost), beam_args=IN_PROCESS)
    return made
