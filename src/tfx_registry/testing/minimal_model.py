"""The smallest SavedModel that counts as one, written without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_minimal_model"]


def write_minimal_model(
    path: str | os.PathLike[str], note: str = "", *, tag: str = "serve"
) -> Path:
    """Writes a SavedModel with an empty graph, no variables and one extra file.

    TensorFlow Serving would load it; there is nothing in it to ask.

    Args:
        path: The directory; made with its parents.
        note: Content of the extra file: other notes make other bytes.
        tag: The tag of the graph; up to 100 ASCII characters.

    Returns:
        The directory.
    """
    folder = Path(path)
    (folder / "assets.extra").mkdir(parents=True)
    # SavedModel { saved_model_schema_version: 1, meta_graphs { meta_info_def { tags: TAG } } }
    tags = b"\x22" + bytes([len(tag)]) + tag.encode("ascii")
    info = b"\x0a" + bytes([len(tags)]) + tags
    graph = b"\x08\x01\x12" + bytes([len(info)]) + info
    (folder / "saved_model.pb").write_bytes(graph)
    (folder / "assets.extra" / "note.txt").write_text(note, encoding="utf-8")
    return folder
