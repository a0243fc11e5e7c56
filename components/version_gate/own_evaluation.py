"""The gate's own evaluation: TFMA on Beam, the candidate and what serves in one pass.

Examples are read and models are loaded as stock Evaluator does it
(tfx/components/evaluator/executor.py), so that the same EvalConfig gives the same numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.utils import config_util
from tfx.components.util import tfxio_utils
from tfx.dsl.io import fileio
from tfx.utils import io_utils, proto_utils
from tfx_bsl.tfxio import tensor_adapter

from tfx_registry.components import places
from tfx_registry.components.version_gate import data_identity
from tfx_registry.errors import InvalidInputError
from tfx_registry.gate import DataIdentity, DataSource

__all__ = ["Job", "check_eval_config", "config_for", "evaluate", "identify"]

_logger = logging.getLogger(__name__)

_TELEMETRY_DESCRIPTORS = ["tfx_registry", "VersionGate"]


@dataclass(frozen=True)
class Job:
    """What the gate evaluates on, and how.

    Attributes:
        eval_config: TFMA's EvalConfig as JSON text.
        examples: The Examples artifacts.
        splits: Names of the splits that count.
        schema: The Schema artifact, or None.
    """

    eval_config: str
    examples: Sequence[Any]
    splits: Sequence[str]
    schema: Any = None


def check_eval_config(config: Any) -> None:
    """Checks that an EvalConfig is about one model, or about one and a baseline.

    Args:
        config: A `tfma.EvalConfig`.

    Raises:
        InvalidInputError: It is not.
    """
    candidates = [spec.name for spec in config.model_specs if not spec.is_baseline]
    baselines = [spec.name for spec in config.model_specs if spec.is_baseline]
    if len(candidates) > 1 or len(baselines) > 1 or (baselines and not candidates):
        raise InvalidInputError(
            "invalid eval_config",
            f"it has {len(candidates)} models and {len(baselines)} baselines; the gate evaluates "
            "the candidate, and what serves as its baseline",
            "give one model spec; the baseline is added where there is one",
        )
    for spec in config.model_specs:
        if spec.signature_name == "eval" or spec.model_type == tfma.constants.TFMA_EVAL:
            raise InvalidInputError(
                "invalid eval_config",
                "it asks for an EvalSavedModel, which is not what would serve",
                "evaluate a serving signature",
            )


def config_for(eval_config: str, *, has_baseline: bool) -> Any:
    """Completes an EvalConfig as stock Evaluator does, for one model or for two.

    Unlike Evaluator, a single model spec is compared with the baseline also when it has a name.

    Args:
        eval_config: TFMA's EvalConfig as JSON text.
        has_baseline: Whether there is a baseline; without one TFMA's rules on changes are dropped,
            and the gate's policy says what that means.

    Returns:
        The `tfma.EvalConfig` to evaluate with.

    Raises:
        InvalidInputError: It is no EvalConfig, or one that the gate cannot evaluate.
    """
    config = tfma.EvalConfig()
    try:
        proto_utils.json_to_proto(eval_config, config)
    except json_format.ParseError as error:
        raise InvalidInputError(
            "invalid eval_config", f"{error}"[:300], "give a tfma.EvalConfig"
        ) from error
    check_eval_config(config)
    if not config.model_specs:
        config.model_specs.add()
    if has_baseline and len(config.model_specs) == 1:
        # TFMA adds a baseline beside the only spec, and only if that has no name.
        config.model_specs[0].name = ""
        for spec in config.metrics_specs:
            del spec.model_names[:]
    try:
        config = config_util.update_eval_config_with_defaults(
            config, has_baseline=has_baseline, rubber_stamp=True
        )
        config_util.verify_eval_config(config)
    except ValueError as error:
        raise InvalidInputError(
            "invalid eval_config", f"{error}"[:300], "correct the EvalConfig"
        ) from error
    return config


def evaluate(
    job: Job,
    make_pipeline: Callable[[], Any],
    candidate: str,
    baseline: str | None,
    output: str,
) -> None:
    """Runs TFMA on Beam.

    Args:
        job: What to evaluate on, and how.
        make_pipeline: Makes the Beam pipeline, with the options that the user chose.
        candidate: Directory of the candidate's model.
        baseline: Directory of the baseline's model, or None.
        output: Directory for the result; what lies there is replaced.

    Raises:
        InvalidInputError: The configuration or the examples are unusable. Errors of TFMA and Beam
            pass through.
    """
    config = config_for(job.eval_config, has_baseline=baseline is not None)
    models = []
    for spec in config.model_specs:
        path = baseline if spec.is_baseline else candidate
        _logger.info("evaluating %s as %r", path, spec.name)
        models.append(
            tfma.default_eval_shared_model(
                eval_saved_model_path=path, model_name=spec.name, eval_config=config
            )
        )
    schema = _read_schema(job.schema)
    if fileio.exists(output):
        fileio.rmtree(output)
    fileio.makedirs(output)
    patterns = _file_patterns(job)
    make_tfxio = tfxio_utils.get_tfxio_factory_from_artifact(
        examples=list(job.examples),
        telemetry_descriptors=_TELEMETRY_DESCRIPTORS,
        schema=schema,
        raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
    )
    pipeline = make_pipeline()
    _check_runner(pipeline.runner)
    with pipeline:
        batches = []
        adapter = None
        for number, pattern in enumerate(patterns):
            tfxio = make_tfxio(pattern)
            batches.append(pipeline | f"ReadExamples[{number}]" >> tfxio.BeamSource())
            if schema is not None:
                adapter = tensor_adapter.TensorAdapterConfig(
                    arrow_schema=tfxio.ArrowSchema(),
                    tensor_representations=tfxio.TensorRepresentations(),
                )
        _ = (
            batches
            | "FlattenExamples" >> beam.Flatten()
            | "Evaluate"
            >> tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=models[0] if len(models) == 1 else models,
                eval_config=config,
                output_path=output,
                display_only_data_location=",".join(a.uri for a in job.examples),
                tensor_adapter_config=adapter,
            )
        )


def _check_runner(runner: Any) -> None:
    """Refuses what cannot run TFMA.

    Beam's DaskRunner has no sources (`_Read` and Impulse have no counterpart in
    apache_beam/runners/dask/transform_evaluator.py), gives each of several tagged outputs all
    elements, drops what finish_bundle emits, and computes only the last of several sinks.
    """
    if type(runner).__module__.startswith("apache_beam.runners.dask."):
        raise InvalidInputError(
            "cannot evaluate with Beam's DaskRunner",
            "it has no sources, mixes tagged outputs and computes one of several sinks",
            "use --runner=tfx_registry.components.dask_workers.DaskWorkersRunner, with the same "
            "--dask_client_address",
        )


def identify(job: Job) -> DataIdentity:
    """Says which examples a job is about.

    Args:
        job: The job.

    Returns:
        Where they lie, what the artifacts say of themselves, and a digest of the files of the
        splits where they are within reach, see `components.data_digest`.

    Raises:
        InvalidInputError: There is no such split.
    """
    _split_uris(job)
    return data_identity.identify(job.examples, job.splits, DataSource.OWN_EVALUATION)


def _file_patterns(job: Job) -> list[str]:
    return [io_utils.all_files_pattern(uri) for uri in _split_uris(job)]


def _split_uris(job: Job) -> list[str]:
    try:
        return data_identity.split_uris(job.examples, job.splits)
    except ValueError as error:
        raise InvalidInputError(
            f"cannot evaluate on the splits {', '.join(map(repr, job.splits))}",
            f"{error}"[:300],
            "name splits of the examples in example_splits",
        ) from error


def _read_schema(artifact: Any) -> Any:
    if artifact is None:
        return None
    with places.local_copy(artifact.uri) as folder:
        return io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(str(folder)))
