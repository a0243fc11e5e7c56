"""The driver of VersionGate: finds in ML Metadata which examples an evaluation was made of.

An executor is not told where the pipeline's store is; a driver is. What it finds travels as an
execution property. Kubeflow leaves drivers out, and then the examples are known only where they are
given to the component.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ml_metadata import errors
from tfx.proto.orchestration import driver_output_pb2

from tfx_registry.components import driver
from tfx_registry.components.version_gate.data_identity import recorded_examples

__all__ = ["EVALUATED_EXAMPLES", "EVALUATIONS", "VersionGateDriver"]

_logger = logging.getLogger(__name__)

#: Execution property: the examples that the given evaluation was made of, as JSON text.
EVALUATED_EXAMPLES = "evaluated_examples"
#: Names of the input that is the given evaluation.
EVALUATIONS = ("given_evaluation", "evaluation")


class VersionGateDriver(driver.RegistryDriver):
    """Does what `RegistryDriver` does, and looks up the examples of the evaluation."""

    def __init__(self, metadata_handle: Any) -> None:
        """Takes TFX's handle of ML Metadata."""
        super().__init__(metadata_handle)
        self._pipeline_store = metadata_handle

    def _prepare_output_artifacts(
        self,
        input_artifacts: Any,
        output_dict: Any,
        exec_properties: Any,
        execution_id: int,
        pipeline_info: Any,
        component_info: Any,
    ) -> dict[str, list[Any]]:
        """Prepares the outputs (Airflow's launcher), and adds what was found to the properties."""
        exec_properties.update(_found(self._pipeline_store.store, input_artifacts))
        return super()._prepare_output_artifacts(
            input_artifacts,
            output_dict,
            exec_properties,
            execution_id,
            pipeline_info,
            component_info,
        )

    def run(self, execution_info: Any) -> driver_output_pb2.DriverOutput:
        """Hands on what was found (the launcher of LocalDagRunner and BeamDagRunner)."""
        output = driver_output_pb2.DriverOutput()
        with self._pipeline_store as handle:
            found = _found(handle.store, execution_info.input_dict)
        for name, value in found.items():
            output.exec_properties[name].string_value = value
        return output


def _found(store: Any, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Looks up the examples of the given evaluation; a store that cannot tell stops nothing."""
    evaluations = [artifact for key in EVALUATIONS for artifact in inputs.get(key) or ()]
    if not evaluations or not evaluations[0].id:
        return {}
    try:
        text = recorded_examples(store, evaluations[0].id)
    except errors.StatusError as error:
        _logger.warning("cannot look up the examples of the evaluation: %s", error)
        return {}
    return {EVALUATED_EXAMPLES: text} if text else {}
