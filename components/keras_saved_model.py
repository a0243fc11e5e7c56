"""Exports a `.keras` file to a SavedModel: a program of its own.

    python -m tfx_registry.components.keras_saved_model FILE DIRECTORY

On failure one line on stderr says why, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program.

    Args:
        arguments: The command line; None means that of the process.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("directory")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        import keras

        model = keras.saving.load_model(options.file, compile=False, safe_mode=True)
        model.export(options.directory)
    except Exception as error:  # noqa: BLE001 - whatever Keras raises, there is no export
        text = " ".join(str(error).split())[:500]
        sys.stderr.write(f"\n{type(error).__name__}: {text}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
