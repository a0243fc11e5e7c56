"""Every notebook runs from a clean kernel, and is committed with what it showed and no more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.source_tree

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

#: What each must have said, in this order.
SAYS = {
    "00_registry_tour": [
        "no gate decision is recorded for it", "penguin:2 may be promoted", "['penguin:2']"
    ],
    "01_quickstart": ["penguin:1", "0 of 11 checks failed", "['1']", "blocked", "came from"],
    "02_gate_explained": ["0 of 1 checks failed|1 of 1 checks failed", "checks failed",
                          "as it is +blocked", "the whole alone +passed", "min_examples: 500"],
    "03_operate": ["'canary': 2", "'stable': 2", "penguin:1 serves in place of version 2",
                   "within 10 seconds: True", "rolled_back", r"fsck: \[\]"],
}  # fmt: skip
PLOTS = {"00_registry_tour": 0, "01_quickstart": 1, "02_gate_explained": 2, "03_operate": 1}


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def outputs(notebook: nbformat.NotebookNode) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def check(path: Path, notebook: nbformat.NotebookNode) -> None:
    """What a notebook showed is what it must show."""
    shown = outputs(notebook)
    text = "\n".join(
        re.sub(r"<[^>]+>", "", data) if mime == "text/html" else data
        for output in shown
        for mime, data in (*output.get("data", {}).items(), ("text", output.get("text", "")))
        if mime in ("text", "text/html")
    )
    for part in SAYS[path.stem]:
        assert re.search(part, text) or part in text, part
    assert sum("image/png" in output.get("data", {}) for output in shown) == PLOTS[path.stem]
    assert not any(output.output_type == "error" for output in shown)


def test_there_is_a_notebook_for_each_expectation() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(SAYS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_clean_and_small(path: Path) -> None:
    assert path.stat().st_size < 250_000
    notebook = read(path)
    check(path, notebook)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:tmp|home|root|work|usr|var|Users)/", text)
    assert not re.search(r"site-packages|WARNING|INFO:|https?://(?!\w+\.\w+\.org)", text)
    for cell in notebook.cells:
        assert "execution" not in cell.metadata
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr"
            assert "application/javascript" not in output.get("data", {})
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    notebook = read(path)
    for name in re.findall(
        r'folder = Path\("(\w+)"\)', path.read_text(encoding="utf-8").replace("\\", "")
    ):
        (tmp_path / name / "serving" / "penguin" / "9").mkdir(parents=True)  # an earlier run
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(
        notebook, timeout=500, startup_timeout=300, kernel_name="python3",
        resources={"metadata": {"path": tmp_path}},
    ).execute()  # fmt: skip
    check(path, notebook)
