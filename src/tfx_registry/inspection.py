"""Finds out what a model on disk is, without loading or running it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
from pathlib import Path

from tfx_registry import saved_model
from tfx_registry.digest import digest_path
from tfx_registry.records import ModelFacts, ModelFormat

__all__ = ["describe_model", "installed_libraries"]

_LIBRARIES = (
    "tensorflow",
    "keras",
    "tf_keras",
    "tfx",
    "tensorflow-model-analysis",
    "tensorflow-transform",
    "apache-beam",
    "ml-metadata",
    "numpy",
    "tfx-registry",
)


def describe_model(path: str | os.PathLike[str]) -> ModelFacts:
    """Finds out what lies at a path, without loading or running it.

    Args:
        path: A SavedModel directory, a TFX Model artifact, a `.keras` file, or anything else.

    Returns:
        Format, digest, size, signatures.

    Raises:
        InvalidModelError: The path is missing, empty, holds what cannot be versioned, or looks
            like a SavedModel and does not parse.
    """
    directory = saved_model.find_saved_model(path)
    root = Path(directory or path).absolute()
    digest = digest_path(root)
    facts = ModelFacts(
        uri=str(root),
        format=ModelFormat.KERAS if root.suffix == ".keras" else ModelFormat.OTHER,
        digest=digest.root,
        manifest=digest.manifest,
        size_bytes=digest.size_bytes,
        file_count=len(digest.files),
    )
    if directory is None:
        return facts
    tags, signatures, tensorflow_version = saved_model.read_metagraph(root)
    return dataclasses.replace(
        facts,
        format=ModelFormat.SAVED_MODEL,
        tags=tags,
        signatures=signatures,
        fingerprint=saved_model.read_fingerprint(root),
        tensorflow_version=tensorflow_version,
    )


def installed_libraries() -> dict[str, str]:
    """Returns the versions of the libraries that shape a model, as installed here."""
    found = {name: _installed_version(name) for name in _LIBRARIES}
    return {name: version for name, version in found.items() if version}


def _installed_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
