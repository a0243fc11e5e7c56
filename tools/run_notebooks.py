#!/usr/bin/env python3
"""Runs the notebooks, each from a clean kernel, and keeps what they showed.

    .venv/bin/python tools/run_notebooks.py [NAME...]

What libraries print on the standard error, times of execution and the state of widgets are left
out, so that a notebook is committed with its plots and tables and nothing else.
"""

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"


def run(path):
    """Runs a notebook and writes it back; returns the seconds that it took."""
    notebook = nbformat.read(path, as_version=4)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook, timeout=600, startup_timeout=300, kernel_name="python3",
            resources={"metadata": {"path": folder}},
        ).execute()  # fmt: skip
        inside = str(Path(folder).resolve()) + "/"
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [clean(o, inside) for o in cell.outputs if is_for_people(o)]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, path)
    return time.monotonic() - started


def is_for_people(output):
    """Tells whether an output is more than messages of libraries and their scripts."""
    scripts = "application/javascript" in output.get("data", {})
    return output.get("name") != "stderr" and not scripts


def clean(value, inside):
    """Returns an output whose paths begin in the folder where the notebook ran."""
    if isinstance(value, str):
        return value.replace(inside, "")
    if isinstance(value, list):
        return [clean(item, inside) for item in value]
    if isinstance(value, dict):
        if "text/html" in value:
            value = {"text/html": value["text/html"]}  # the text says the same, and longer
        return nbformat.from_dict({key: clean(item, inside) for key, item in value.items()})
    return value


def main():
    """Runs those that are named, or all."""
    names = sys.argv[1:]
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.stem in names:
            print(f"{path.name}: {run(path):.0f} s")


if __name__ == "__main__":
    main()
