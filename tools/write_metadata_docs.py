#!/usr/bin/env python3
"""Writes docs/reference/metadata.md: every type and property that is kept in ML Metadata.

    .venv/bin/python tools/write_metadata_docs.py [--check]

It fills a registry in a temporary folder and reads back from ML Metadata what is there; types of
which nothing is said here, and texts about what is not there, are errors. Fields of records come
from the dataclasses, and what the components write from their specifications.
"""

import sys
import tempfile
import typing
from pathlib import Path

from reference_pages import attributes, fields_table, finish, summary, table

INTRODUCTION = """
# Metadata schema

This page is written by `tools/write_metadata_docs.py` from the code and from a registry that it
fills.

The registry keeps its records in ML Metadata, beside the pipelines' own. There are two families of
types: those that the registry itself writes (`tfx_registry.registry.*`), and those of the
components' artifacts and executions, which the orchestrator writes. They may lie in one database or
in two. [Why an event log](../design/0001-event-log-in-mlmd.md) explains the model.

All properties are custom properties with text as value: numbers lose digits as doubles of ML
Metadata, and declared properties of custom types do not compile for Kubeflow. What to rely on:
`record` and the external ids. The other properties are copies for people who look into the
database, cut to 1,000 bytes.
"""

#: Node kind, what it stands for, its name and its external id.
NODES = {
    "tfx_registry.registry.Model": (
        "the state of a model, which must be what follows from its events",
        "name of the model", "`tfx_registry:m:<model>`",
    ),
    "tfx_registry.registry.Version": (
        "a version, and what was decided about it since",
        "`<model>@<number>`", "`tfx_registry:v:<model>@<number>`",
    ),
    "tfx_registry.registry.Event": (
        "one event; the external id decides who writes it",
        "`op:<digest of model and token>`", "`tfx_registry:e:<model>#<seq>`",
    ),
    "tfx_registry.registry.Source": (
        "an artifact that a version came from, where no pipeline has written it into the same "
        "database", "", "`tfx_registry:s:<digest of type and URI>`",
    ),
    "tfx_registry.registry.Content": (
        "index from the digest of bytes to the newest version that has them",
        "", "`tfx_registry:d:<model>#<digest>`",
    ),
}  # fmt: skip

PROPERTIES = {
    "tfx_registry.registry.Model": {"record": "[Head](#head) as JSON"},
    "tfx_registry.registry.Version": {
        "record": "[Version](#version) as JSON",
        "digest": "root digest of the bytes",
        "state": "where the version stands: registered, passed, blocked, approved, rejected, "
        "serving or archived",
    },
    "tfx_registry.registry.Event": {
        "record": "[Event](#event) as JSON, exactly as its digest was taken",
        "kind": "kind of the payload",
        "actor": "who",
        "time": "when, UTC",
    },
    "tfx_registry.registry.Source": {"type_name": "type of the artifact, such as `Examples`"},
    "tfx_registry.registry.Content": {"number": "number of the version"},
}

RECORD_NOTE = """
`record` is cut into pieces of 2,000 bytes: `record`, `record.1`, `record.2`, ... A backslash is
written as `~1` and `~` as `~0`. Fields that hold their default are left out of the JSON. NaN and
infinities are the texts `"NaN"`, `"Infinity"` and `"-Infinity"`. In external ids the name of the
model is case-folded.

An event is linked to its model (an association), to the versions that it changes (`OUTPUT` for the
one that it registers, else `INPUT`, path `version`), to the sources of a registration (`INPUT`, the
path is the role) and to the content index (`OUTPUT`, path `content`).
"""

WRITTEN = {
    "ModelRegistrar": {
        "model_version": {
            "model_name": "name of the model",
            "version": "number of the version",
            "digest": "root digest of the registered bytes",
        }
    },
    "VersionGate": {
        "report": {
            "verdict": "`passed` or `blocked`",
            "model_name": "name of the model",
            "version": "number of the version",
        },
        "blessing": {
            "blessed": "1 or 0, an integer, as Evaluator writes it",
            "current_model": "URI of the candidate",
            "current_model_id": "id of the candidate's artifact, an integer",
            "baseline_model": "URI of the baseline, if there was one",
        },
    },
    "Promoter": {
        "pushed_model": {
            "pushed": "1 or 0, an integer, as Pusher writes it",
            "pushed_destination": "where the version lies",
            "pushed_version": "number of the version",
            "not_pushed_reason": "one line that says why nothing was pushed",
            "removed_versions": "versions that retention removed",
            "retention_error": "why retention could not remove any",
        }
    },
}


def stored():
    """Fills a registry and returns what ML Metadata holds: kind and properties of each type."""
    import ml_metadata as mlmd
    from ml_metadata.proto import metadata_store_pb2 as pb

    from tfx_registry import ModelRegistry
    from tfx_registry.records import LineageSource
    from tfx_registry.testing.minimal_model import write_minimal_model

    with tempfile.TemporaryDirectory() as folder:
        model = write_minimal_model(Path(folder) / "model")
        with ModelRegistry.open(f"sqlite:///{folder}/metadata.sqlite") as registry:
            registry.register(
                "penguin", model, actor="ada",
                sources=[LineageSource("examples", "Examples", "/data/examples")],
            )  # fmt: skip
            registry.approve("penguin", 1, actor="bob")
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = f"{folder}/metadata.sqlite"
        store = mlmd.MetadataStore(config)
        found = {}
        for kind, nodes in (
            ("context", store.get_contexts()),
            ("artifact", store.get_artifacts()),
            ("execution", store.get_executions()),
        ):
            for node in nodes:
                properties = found.setdefault(node.type, (kind, set()))[1]
                assert not node.properties, node.type
                properties |= {
                    key for key in node.custom_properties if not key.startswith("record.")
                }
    return found


def node_sections():
    """Returns the sections about the registry's own nodes."""
    found = stored()
    assert set(found) == set(NODES) == set(PROPERTIES), sorted(set(found) ^ set(NODES))
    sections = []
    for name, (meaning, node_name, external_id) in NODES.items():
        kind, properties = found[name]
        assert properties == set(PROPERTIES[name]), (name, properties)
        about = [f"{kind.capitalize()}: {meaning}.", f"External id {external_id}."]
        if node_name:
            about.append(f"Name: {node_name}.")
        rows = [[f"`{key}`", "text", text] for key, text in PROPERTIES[name].items()]
        sections += [
            f"### {name}", " ".join(about), table(["custom property", "type", "meaning"], rows)
        ]  # fmt: skip
    return sections


def event_sections():
    """Returns the sections about the event and its payloads."""
    from tfx_registry.records import Version
    from tfx_registry.registry import events

    known = {**attributes(Version), "number": "Number of the version."}
    rows = [
        [f"`{name}`", {"seq": "integer", "payload": "object"}.get(name, "text"), text]
        for name, text in attributes(events.Event).items()
    ]
    rows.append(["`kind`", "text", "Kind of the payload: one of those below."])
    sections = ["### Event", table(["field", "type", "meaning"], rows)]
    for payload in typing.get_args(events.Payload):
        sections += [f"### {payload.kind}", summary(payload), fields_table(payload, known)]
    return sections


def record_sections():
    """Returns the sections about the records."""
    from tfx_registry import records

    sections = []
    for cls in (
        records.Head, records.Version, records.ModelFacts, records.Signature, records.TensorSpec,
        records.Origin, records.LineageSource, records.Metric, records.DecisionSummary,
        records.Approval, records.Override, records.Deployment, records.ConfigTarget,
    ):  # fmt: skip
        sections += [f"### {cls.__name__}", summary(cls), fields_table(cls)]
    for cls in (records.ModelFormat, records.Verdict):
        words = ", ".join(f"`{member.value}`" for member in cls)
        sections += [f"### {cls.__name__}", f"{summary(cls)} One of {words}."]
    return sections


def component_sections():
    """Returns the sections about the components' artifacts and executions."""
    from tfx.components.evaluator import constants

    from tfx_registry import components
    from tfx_registry.components import artifacts

    sections = []
    for cls in (artifacts.ModelVersion, artifacts.GateReport):
        sections += [f"### {cls.TYPE_NAME}", f"Artifact. {summary(cls)}"]
    for name, outputs in WRITTEN.items():
        component = getattr(components, name)
        spec = component.SPEC_CLASS
        rows = []
        for kind, parameters in (
            ("input", spec.INPUTS), ("output", spec.OUTPUTS), ("parameter", spec.PARAMETERS)
        ):  # fmt: skip
            for key, parameter in parameters.items():
                needed = "" if getattr(parameter, "optional", False) else "yes"
                of = parameter.type
                shown = getattr(of, "TYPE_NAME", None) or of.__name__
                rows.append([f"`{key}`", kind, f"`{shown}`", needed])
        sections += [
            f"### {component.__module__}.{name}",
            "Execution. "
            + {
                "ModelRegistrar": "One more input for each role in `lineage`.",
                "VersionGate": "With `examples` it takes `examples`, `schema`, `eval_config` and "
                "`example_splits` as well, and has the output `evaluation`.",
                "Promoter": "Parameters that are objects are JSON.",
            }[name],
            table(["key", "what", "type", "needed"], rows),
        ]
        executor = sys.modules[component.EXECUTOR_SPEC.executor_class.__module__]
        written = {
            value
            for module in (executor, artifacts, constants)
            for value in vars(module).values()
            if isinstance(value, str)
        }
        for output, properties in outputs.items():
            assert output in spec.OUTPUTS, output
            assert written >= set(properties), set(properties) - written
            sections += [
                f"Custom properties of `{output}`:",
                table(
                    ["custom property", "meaning"],
                    [[f"`{key}`", text] for key, text in properties.items()],
                ),
            ]
    return sections


def page():
    """Returns the whole page."""
    return "\n\n".join(
        part.strip()
        for part in [
            INTRODUCTION,
            "## Nodes of the registry",
            *node_sections(),
            RECORD_NOTE,
            "## Events",
            "The payload of an event, by its kind. Kinds and fields are stored for ever: they are "
            "added, never renamed.",
            *event_sections(),
            "## Records",
            *record_sections(),
            "## What the components write",
            *component_sections(),
        ]
    )


if __name__ == "__main__":
    sys.exit(finish("metadata.md", page(), sys.argv[1:]))
