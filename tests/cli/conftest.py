"""A registry with some history, and the command line in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import main
from tfx_registry.records import Metric, Verdict
from tfx_registry.registry.events import Decided


@dataclass(frozen=True)
class Result:
    """What one command did.

    Attributes:
        code: Exit code.
        out: Standard output.
        err: Standard error.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/registry.sqlite"


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], uri: str) -> Run:
    """Runs `tfx-registry --registry URI ...`."""

    def run_command(*arguments: object, registry: str | None = uri) -> Result:
        before = ["--registry", registry] if registry else []
        code = main([*before, *map(str, arguments)])
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return run_command


@pytest.fixture
def filled(uri: str, saved_model: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three versions: the first passed, the second blocked, the third undecided."""
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", "ada")
    with ModelRegistry.open(uri) as registry:
        for _ in range(3):
            digest = registry.register("penguin", saved_model).digest
        for number, verdict, reasons in (
            (1, Verdict.PASSED, ()),
            (2, Verdict.BLOCKED, ("slice sex=[male]: auc 0.4 is below the lower bound 0.9",)),
        ):
            metrics = (Metric("auc", 0.4, (("sex", "[male]"),)), Metric("loss", float("nan")))
            decision = Decided(
                number, verdict, digest, "production", reasons=reasons,
                metrics=metrics,
            )  # fmt: skip
            registry.record_decision("penguin", decision)
    return uri
