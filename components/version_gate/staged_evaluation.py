"""The gate's own evaluation where models, or its result, lie in an object store.

Where Beam runs on this machine, TFMA gets copies in a temporary folder, and its result is uploaded:
the same way for each store, while TensorFlow itself knows `gs://` only. Workers on other machines
see no folder of this one; they get the addresses.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfx_registry.components import places
from tfx_registry.components.version_gate import own_evaluation
from tfx_registry.components.version_gate.tfma_results import CONFIG_FILE
from tfx_registry.digest import digest_path
from tfx_registry.errors import IntegrityError, InvalidInputError

__all__ = ["evaluate"]

#: Modules of Beam's runners whose workers are threads or processes of this machine.
_HERE = (
    "apache_beam.runners.direct.",
    "apache_beam.runners.interactive.",
    "apache_beam.runners.portability.fn_api_runner.",
    "apache_beam.runners.portability.prism_runner",
)


def evaluate(
    job: own_evaluation.Job,
    make_pipeline: Callable[[], Any],
    candidate: str,
    baseline: str | None,
    output: str,
) -> None:
    """Runs TFMA on Beam; see `own_evaluation.evaluate`.

    Args:
        job: What to evaluate on, and how.
        make_pipeline: Makes the Beam pipeline, with the options that the user chose.
        candidate: Path or address of the candidate's model.
        baseline: Path or address of the baseline's model, or None.
        output: Path or address for the result; what lies there is replaced.

    Raises:
        InvalidInputError: The configuration or the examples are unusable, or workers cannot read
            such an address. Errors of TFMA and Beam pass through.
        IntegrityError: A model changed since it was compared with the registered bytes.
        RegistryError: The object store refuses, or does not answer.
    """
    models = [model for model in (candidate, baseline) if model is not None]
    stored = [place for place in (*models, output) if places.is_in_store(place)]
    pipeline = make_pipeline()
    if stored and not type(pipeline.runner).__module__.startswith(_HERE):
        _check_readable(stored, type(pipeline.runner).__name__)
        stored = []
    if not stored:
        own_evaluation.evaluate(job, lambda: pipeline, candidate, baseline, output)
        return
    with contextlib.ExitStack() as stack:
        local = {model: str(_copy(stack, model)) for model in models}
        folder = output
        if output in stored:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="tfx-registry-"))
            folder = str(Path(scratch) / "evaluation")
        beside = local[baseline] if baseline is not None else None
        own_evaluation.evaluate(job, lambda: pipeline, local[candidate], beside, folder)
        _name_models(Path(folder), {path: model for model, path in local.items()})
        if output in stored:
            places.replace_tree(Path(folder), output)


def _check_readable(stored: list[str], runner: str) -> None:
    for place in stored:
        if not place.startswith("gs://"):
            raise InvalidInputError(
                f"cannot evaluate with {place!r} on {runner}",
                "TensorFlow on its workers reads gs://, and no other store",
                "evaluate on this machine with --runner=DirectRunner, or use Evaluator where its "
                "workers have the files",
            )


def _copy(stack: contextlib.ExitStack, model: str) -> Path:
    """Makes a model readable; a copy must have the bytes that were compared before."""
    path = stack.enter_context(places.local_copy(model))
    if places.is_in_store(model) and digest_path(path).manifest != places.digests_of(model)[1]:
        raise IntegrityError(
            f"cannot evaluate {model!r}", "it changed while the gate looked at it", "repeat it"
        )
    return path


def _name_models(result: Path, models: Mapping[str, str]) -> None:
    """Writes into a result where the models lie, in place of the copies that TFMA was given."""
    config = result / CONFIG_FILE
    said = json.loads(config.read_text(encoding="utf-8"))
    lay = said.get("modelLocations", {})
    said["modelLocations"] = {name: models.get(path, path) for name, path in lay.items()}
    config.write_text(json.dumps(said), encoding="utf-8")
