"""`tfx-registry report`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import main


@pytest.fixture
def uri(tmp_path: Path) -> str:
    uri = f"sqlite:///{tmp_path}/registry.sqlite"
    (tmp_path / "model").write_text("bytes", encoding="utf-8")
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", tmp_path / "model")
    return uri


def test_report_writes_the_page(
    uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    assert main(["--registry", uri, "report", "penguin", "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert f"wrote the page about penguin to {out}" in capfd.readouterr().out
    assert main(["--registry", uri, "--json", "report", "penguin", "--out", str(out)]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "model": "penguin", "out": str(out), "size_bytes": out.stat().st_size,
    }  # fmt: skip


def test_report_can_leave_out_old_versions(
    uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", tmp_path / "model")
    assert main(["--registry", uri, "report", "penguin", "--out", "-", "--newest", "1"]) == 0
    page = capfd.readouterr().out
    assert '<tr id="v2"' in page
    assert '<tr id="v1"' not in page
    assert "1 older version is left out" in page


def test_report_to_stdout_is_the_page_alone(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--registry", uri, "report", "penguin", "--out", "-"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("<!doctype html>")
    assert out.rstrip().endswith("</html>")


def test_a_missing_model_leaves_no_page(
    uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    assert main(["--registry", uri, "report", "auk", "--out", str(out)]) == 3
    assert not out.exists()
    assert "no model 'auk'" in capfd.readouterr().err
