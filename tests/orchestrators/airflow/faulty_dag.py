"""A DAG with one task for each thing that may be wrong, on the artifacts of a run that went well.

Airflow reads it in the place of a pipeline: nothing is trained. The variable `faulty_pipeline` says
where everything is; see `test_faults.py`.
"""

import datetime
from pathlib import Path

from airflow.exceptions import AirflowException
from airflow.models import Variable
from tfx import v1 as tfx
from tfx.dsl.components.base import base_driver
from tfx.orchestration.airflow.airflow_dag_runner import AirflowDagRunner, AirflowPipelineConfig
from tfx.types import standard_artifacts

from tfx_registry.components import (
    ModelRegistrar,
    ModelVersion,
    ProductionModelStrategy,
    Promoter,
    VersionGate,
)
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
earlier_evaluation = imported("earlier_evaluation", standard_artifacts.ModelEvaluation)
examples = imported("examples", standard_artifacts.Examples)
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


def chain(suffix, registry, registry_later, driver_class=None):
    """Registers, gates and publishes the model, in a registry and a directory of its own.

    Args:
        suffix: Ends the names of the three tasks.
        registry: URI of the registry.
        registry_later: Its URI for the gate and the promoter.
        driver_class: A driver in the place of the components' own.
    """
    registrar = ModelRegistrar(
        model=earlier_model,
        model_name="penguin",
        lineage={"examples": examples},
        registry=registry,
    )
    made = registrar.outputs["model_version"]
    deciding = VersionGate(
        model_version=made,
        model=earlier_model,
        evaluation=earlier_evaluation,
        examples=examples,
        policy=default_policy(),
        registry=registry_later,
    )
    directory = str(ROOT / f"serving_{suffix}" / "penguin")
    publishing = Promoter(
        model=earlier_model,
        model_version=made,
        blessing=deciding.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=directory)
        ),
        registry=registry_later,
    )
    named = {"register": registrar, "decide": deciding, "publish": publishing}
    for name, component in named.items():
        if driver_class is not None:
            component.driver_class = driver_class
        add(component, f"{name}_{suffix}")
    return deciding


resolver = tfx.dsl.Resolver(
    strategy_class=ProductionModelStrategy,
    config={"model_name": "penguin", "registry": SETTINGS["resolves_later"]},
    model=tfx.dsl.Channel(type=standard_artifacts.Model),
)
add(resolver, "resolves_later")
# The server serves the file that the registrar writes, and starts when the gate has missed it.
chain("later", SETTINGS["file_of_server"], SETTINGS["serves_later"])
own = SETTINGS["without_driver"]
decided = chain("without_driver", own, own, base_driver.BaseDriver)
second = VersionGate(
    model_version=version,
    model=model,
    evaluation=evaluation,
    policy=default_policy(),
    registry=SETTINGS["copy"],
)
second.driver_class = base_driver.BaseDriver
second.add_upstream_node(decided)
add(second, "second_blessing_without_driver")

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
    """Fails the first try in which the component gets done."""
    done = ROOT / "done" / context["ti"].task_id
    if not done.exists():
        done.parent.mkdir(exist_ok=True)
        done.touch()
        raise AirflowException("the worker was lost")


for name, retries, loses in (
    ("listens_later", 90, False),
    ("resolves_later", 90, False),
    ("decide_later", 90, True),
    ("lost_after_registering", 1, True),
    ("lost_after_publishing", 1, True),
    ("second_blessing_without_driver", 1, False),
):
    task = dag.get_task(name)
    task.retries = retries
    task.retry_delay = datetime.timedelta(seconds=2)
    if loses:
        task._post_execute_hook = lose_the_worker
