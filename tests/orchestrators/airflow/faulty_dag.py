"""A DAG with one task for each thing that may be wrong, on the artifacts of a run that went well.

Airflow reads it in the place of a pipeline: nothing is trained. The variable `faulty_pipeline` says
where everything is; see `test_faults.py`.
"""

import datetime
from pathlib import Path

from airflow.exceptions import AirflowException
from airflow.models import Variable
from tfx import v1 as tfx
from tfx.orchestration.airflow.airflow_dag_runner import AirflowDagRunner, AirflowPipelineConfig
from tfx.types import standard_artifacts

from tfx_registry.components import ModelRegistrar, ModelVersion, Promoter, VersionGate
from tfx_registry.pipelines.penguin.policy import default_policy

SETTINGS = Variable.get("faulty_pipeline", deserialize_json=True)
ROOT = Path(SETTINGS["root"])
REGISTRY = SETTINGS["registry"]

nodes = []


def add(node, name):
    """Adds a node to the pipeline."""
    nodes.append(node.with_id(name))
    return node.outputs


def imported(name, kind):
    """An artifact of the run that went well."""
    importer = tfx.dsl.Importer(source_uri=SETTINGS[name], artifact_type=kind)
    return add(importer, name)["result"]


model = imported("model", standard_artifacts.Model)
earlier_model = imported("earlier_model", standard_artifacts.Model)
version = imported("version", ModelVersion)
blessing = imported("blessing", standard_artifacts.ModelBlessing)
evaluation = imported("evaluation", standard_artifacts.ModelEvaluation)
earlier_version = imported("earlier_version", ModelVersion)
later_version = imported("later_version", ModelVersion)


def registrar(name, registry):
    """Registers the model, in one or another registry."""
    add(ModelRegistrar(model=model, model_name="penguin", registry=registry), name)


def gate(name, model_version, registry=REGISTRY):
    """Decides on the model by its evaluation."""
    component = VersionGate(
        model_version=model_version,
        model=model,
        evaluation=evaluation,
        policy=default_policy(),
        registry=registry,
    )
    add(component, name)


def promoter(name, serving=ROOT / "serving" / "penguin", **given):
    """Publishes the model, or what else is given."""
    destination = tfx.proto.PushDestination.Filesystem(base_directory=str(serving))
    inputs = {"model": model, "model_version": version, "registry": REGISTRY, **given}
    component = Promoter(
        push_destination=tfx.proto.PushDestination(filesystem=destination), **inputs
    )
    add(component, name)


registrar("nobody_listens", SETTINGS["nobody_listens"])
gate("gate_without_server", version, SETTINGS["nobody_listens"])
promoter("promoter_without_server", registry=SETTINGS["nobody_listens"])
registrar("listens_later", SETTINGS["listens_later"])
registrar("lost_after_registering", SETTINGS["lost"])
promoter(
    "lost_after_publishing",
    blessing=blessing,
    registry=SETTINGS["copy"],
    serving=ROOT / "published",
)
registrar("no_password", SETTINGS["postgresql"])
registrar("no_such_folder", f"sqlite:///{ROOT}/no/such/folder/registry.sqlite")
registrar("no_database", f"sqlite:///{SETTINGS['no_database']}")
registrar("no_address", None)
gate("gate_in_another_registry", version, SETTINGS["another_registry"])
gate("gate_with_another_version", later_version)
promoter("promoter_in_another_registry", registry=SETTINGS["another_registry"])
promoter("promoter_with_another_version", model_version=later_version, blessing=blessing)
promoter("promoter_with_another_model", model=earlier_model)
promoter("promoter_with_another_blessing", model=earlier_model, blessing=blessing)
promoter("no_folder", serving=Path(SETTINGS["no_folder"]) / "penguin")
promoter("empty_volume", serving=SETTINGS["empty_volume"])

dag = AirflowDagRunner(
    AirflowPipelineConfig(
        airflow_dag_config={
            "schedule": None,
            "start_date": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
        }
    )
).run(
    tfx.dsl.Pipeline(
        pipeline_name="faulty",
        pipeline_root=str(ROOT / "pipeline"),
        components=nodes,
        enable_cache=False,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            SETTINGS["metadata"]
        ),
    )
)


def lose_the_worker(context, result=None):
    """Fails the first try after the component is done."""
    if context["ti"].try_number == 1:
        raise AirflowException("the worker was lost")


later = dag.get_task("listens_later")
later.retries = 90
lost = [dag.get_task(name) for name in ("lost_after_registering", "lost_after_publishing")]
for task in lost:
    task.retries = 1
    task._post_execute_hook = lose_the_worker
for task in (later, *lost):
    task.retry_delay = datetime.timedelta(seconds=2)
