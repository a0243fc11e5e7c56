"""The driver of the components: makes Airflow's launcher name their outputs apart and try again.

TFX's launcher for Airflow (`BaseDriver`, `orchestration/metadata.py`) has two habits that a
registry cannot live with:

- It names an output after its key and the run alone, and ML Metadata takes a name once per type.
  Evaluator and VersionGate both have a ModelBlessing under the key "blessing", so the second of
  them in a run would fail before it starts.
- It registers the execution of a task that is tried again under the id of the first try, and then
  adds the inputs once more, which ML Metadata refuses. So no task with inputs could be tried again.

Both end a task before an executor is asked, so an executor cannot help. LocalDagRunner and
BeamDagRunner name outputs with component and execution by themselves and make a new execution for
each try; Kubeflow leaves drivers out. Nothing else happens here, so nothing is lost where the
driver is not asked: with TFX's own the components register, decide and publish the same.

A launcher (`AirflowPipelineConfig.supported_launcher_classes`) could do this for every component of
a DAG. It would let a Trainer write over the model of its first try, which may be registered then.
"""

from __future__ import annotations

from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.base import base_driver
from tfx.orchestration import metadata
from tfx.proto.orchestration import driver_output_pb2

__all__ = ["RegistryDriver"]


class _RepeatableMetadata:
    """TFX's handle of ML Metadata, with a registration that can be repeated."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def register_execution(
        self,
        pipeline_info: Any,
        component_info: Any,
        contexts: list[Any],
        exec_properties: dict[str, Any] | None = None,
        input_artifacts: dict[str, list[Any]] | None = None,
    ) -> Any:
        """Registers an execution; another try goes on with the execution of the first."""
        context = self._handle.get_component_run_context(component_info)
        if context is None:
            return self._handle.register_execution(
                pipeline_info=pipeline_info,
                component_info=component_info,
                contexts=contexts,
                exec_properties=exec_properties,
                input_artifacts=input_artifacts,
            )
        [execution] = self._handle.store.get_executions_by_context(context.id)
        contexts.append(context)
        self._handle.update_execution(
            execution=execution,
            component_info=component_info,
            input_artifacts=input_artifacts,
            exec_properties=exec_properties,
            execution_state=metadata.EXECUTION_STATE_NEW,
            contexts=contexts,
        )
        return execution


class RegistryDriver(base_driver.BaseDriver):
    """Names outputs `<component>.<key>:<run>:<execution>`, and lets a task be tried again."""

    def __init__(self, metadata_handle: Any) -> None:
        """Takes TFX's handle of ML Metadata."""
        super().__init__(_RepeatableMetadata(metadata_handle))

    def _prepare_output_artifacts(
        self,
        input_artifacts: Any,
        output_dict: Any,
        exec_properties: Any,
        execution_id: int,
        pipeline_info: Any,
        component_info: Any,
    ) -> dict[str, list[Any]]:
        """Prepares the outputs as TFX does, with names of their own or from an earlier try."""
        outputs: dict[str, list[Any]] = super()._prepare_output_artifacts(
            input_artifacts,
            output_dict,
            exec_properties,
            execution_id,
            pipeline_info,
            component_info,
        )
        earlier = self._outputs_of(execution_id)
        for key, artifacts in outputs.items():
            for artifact in artifacts:
                artifact.name = f"{component_info.component_id}.{artifact.name}:{execution_id}"
                if key in earlier:
                    artifact.id = earlier[key]
        return outputs

    def _outputs_of(self, execution_id: int) -> dict[str, int]:
        """Returns the ids of the outputs that an execution has already, by key."""
        events = self._metadata_handle.store.get_events_by_execution_ids([execution_id])
        return {
            event.path.steps[0].key: event.artifact_id
            for event in events
            if event.type == metadata_store_pb2.Event.OUTPUT
        }

    def run(self, execution_info: Any) -> driver_output_pb2.DriverOutput:
        """Changes nothing (the launcher of LocalDagRunner and BeamDagRunner)."""
        del execution_info
        return driver_output_pb2.DriverOutput()
