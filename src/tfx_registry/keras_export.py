"""Makes a SavedModel of a `.keras` version: on request, and as a version of its own.

TensorFlow Serving loads only SavedModels. Exporting makes other bytes, traced by whatever Keras is
installed, so it never happens on the side of something else: the SavedModel is registered with its
own number and digest, names the `.keras` version as what it came from, and goes through the gate
like every other.
"""

from __future__ import annotations

import os
import uuid
from contextlib import nullcontext
from pathlib import Path

from tfx_registry.digest import digest_path
from tfx_registry.errors import IntegrityError, InvalidInputError, InvalidModelError
from tfx_registry.records import LineageSource, ModelFormat, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.atomic import remove_tree
from tfx_registry.serving.objects import is_object_url
from tfx_registry.serving.objects.models import fetched_model
from tfx_registry.serving.subprocesses import run_module

__all__ = ["KERAS_VERSION_KEY", "check_servable_format", "export_keras"]

#: The role of the `.keras` version in the lineage of its SavedModel.
KERAS_VERSION_KEY = "keras_version"

_MODULE = "tfx_registry.components.keras_saved_model"


def check_servable_format(version: Version) -> None:
    """Refuses a version that TensorFlow Serving cannot load.

    Args:
        version: The version.

    Raises:
        InvalidModelError: It is no SavedModel; the message says how to get one.
    """
    if version.facts.format is ModelFormat.SAVED_MODEL:
        return
    todo = "export the model as a SavedModel and register that"
    if version.facts.format is ModelFormat.KERAS:
        todo = (
            f"run 'tfx-registry export-keras {version.ref} --out DIR', which registers a "
            "SavedModel of it as a version of its own, and promote that"
        )
    raise InvalidModelError(
        f"cannot promote {version.ref}",
        f"its format is {version.facts.format.value!r}, and TensorFlow Serving loads only "
        "SavedModels",
        todo,
    )


def export_keras(
    registry: ModelRegistry,
    model: str,
    number: int,
    output: str | os.PathLike[str],
    *,
    timeout_seconds: float = 900.0,
    actor: str | None = None,
    reason: str = "",
) -> Version:
    """Exports a `.keras` version to a SavedModel and registers that as the next version.

    Keras runs in a process of its own, with its safe mode on: a model that holds Python code is
    refused.

    Args:
        registry: The registry.
        model: Name of the model.
        number: The `.keras` version.
        output: The directory that is made for the SavedModel; it must not exist.
        timeout_seconds: An export that takes longer, with loading TensorFlow, fails.
        actor: Who; None means as in `ModelRegistry.register`.
        reason: Why.

    Returns:
        The new version. Its labels and hyperparameters are those of the `.keras` version; its
        metrics have to be measured.

    Raises:
        NotFoundError: There is no such version.
        InvalidModelError: It is no `.keras` file, or Keras cannot export it.
        InvalidInputError: The output exists or cannot be written.
        IntegrityError: The file is not the one that was registered.
        RegistryError: It lies in an object store that refuses or does not answer.
    """
    version = registry.get(model, number)
    what = f"cannot export {version.ref}"
    if version.facts.format is not ModelFormat.KERAS:
        raise InvalidModelError(
            what,
            f"its format is {version.facts.format.value!r}, not '.keras'",
            "name a version that was registered from a .keras file",
        )
    if is_object_url(output):
        raise InvalidInputError(
            what,
            f"{os.fspath(output)!r} is no directory on a disk",
            "name a local one; promote or copy the SavedModel from there",
        )
    target = Path(output).absolute()
    if os.path.lexists(target):
        raise InvalidInputError(what, f"{str(target)!r} exists", "name a directory that does not")
    uri = version.uri
    with fetched_model(uri) if is_object_url(uri) else nullcontext(Path(uri)) as file:
        if digest_path(file).root != version.facts.digest:
            raise IntegrityError(
                what,
                f"{uri!r} has other bytes than the registered version",
                "bring the registered file back",
            )
        _export(what, uri, file, target, timeout_seconds)
    source = LineageSource(
        KERAS_VERSION_KEY,
        "tfx_registry.Version",
        version.uri,
        properties={"version": str(version.ref)},
        digest=version.facts.digest,
    )
    return registry.register(
        model,
        target,
        description=f"SavedModel of {version.ref}",
        labels=version.labels,
        hyperparameters=version.hyperparameters,
        sources=[source],
        actor=actor,
        reason=reason,
    )


def _export(what: str, uri: str, file: Path, target: Path, timeout_seconds: float) -> None:
    """Makes the SavedModel; it is there as a whole, or not at all."""
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        run_module(_MODULE, [str(file), str(unfinished)], timeout_seconds=timeout_seconds)
        unfinished.rename(target)
    except ValueError as error:
        raise InvalidModelError(
            what, f"exporting {uri!r}: {error}", "export it where its code is installed"
        ) from error
    except OSError as error:
        raise InvalidInputError(
            what, f"{str(target)!r}: {error.strerror or error}", "name another directory"
        ) from error
    finally:
        remove_tree(unfinished)
