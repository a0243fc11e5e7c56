"""Writes a SavedModel of any size, for the benchmarks.

    python benchmarks/generate_model.py big --files 20 --mebibytes 1024

A graph that names all other files as its assets, so that a publisher that checks a model has to
look for each of them. The bytes are random, so that nothing on the way can compress them.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tfx_registry.saved_model import SAVED_MODEL_FILE, SERVE_TAG, parse_message

__all__ = ["generate"]

_BLOCK = 1 << 20


def generate(folder: Path, files: int, size_bytes: int) -> None:
    """Writes the model.

    Args:
        folder: Where; it must not exist.
        files: How many files, with `saved_model.pb`.
        size_bytes: Of all files but `saved_model.pb`, together.
    """
    (folder / "assets").mkdir(parents=True)
    message = parse_message("WholeSavedModel", b"")
    graph = message.meta_graphs.add()
    graph.info.tags.append(SERVE_TAG.encode())
    count = files - 1
    for index in range(count):
        name = f"part-{index:05d}"
        graph.assets.add().filename = name.encode()
        left = size_bytes * (index + 1) // count - size_bytes * index // count
        with (folder / "assets" / name).open("wb") as stream:
            while left:
                left -= stream.write(os.urandom(min(left, _BLOCK)))
    (folder / SAVED_MODEL_FILE).write_bytes(message.SerializeToString())


def main() -> None:
    """Reads the command line and writes the model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--mebibytes", type=int, default=1024)
    options = parser.parse_args()
    generate(options.folder, options.files, options.mebibytes << 20)


if __name__ == "__main__":
    main()
