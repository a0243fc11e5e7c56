"""The change that README proposes, made in an example that comes with TFX itself."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from tfx.dsl.compiler import compiler
from tfx.examples import chicago_taxi_pipeline

from tfx_registry.testing.documents import blocks

pytestmark = pytest.mark.source_tree

README = Path(__file__).resolve().parents[2] / "README.md"
EXAMPLE = Path(chicago_taxi_pipeline.__file__).with_name("taxi_pipeline_native_keras.py")


def proposed() -> list[str]:
    """Returns the lines that README adds, in their order."""
    text = next(b.text for b in blocks(README.read_text(encoding="utf-8")) if b.language == "diff")
    return [line[1:] for line in text.splitlines() if line.startswith("+")]


def changed(example: str) -> str:
    """Makes the change where the example has what README's pipeline has."""
    imports, *declared, promoter, handed, components = proposed()
    new = ", ".join(name for name in ("registrar", "gate", "pusher") if name in components)
    for old, line in (
        ("from tfx.components import Pusher\n", f"{imports}\n"),
        ("  pusher = Pusher(\n", textwrap.indent("\n".join([*declared, promoter, ""]), "  ")),
        ("      model_blessing=evaluator.outputs['blessing'],\n", f"  {handed}\n"),
        ("          pusher,\n", f"          {new},\n"),
    ):
        assert example.count(old) == 1, f"the example has no line {old!r} any more"
        example = example.replace(old, line)
    return example


def compiled(source: str, folder: Path) -> dict[str, Any]:
    """Declares the example's pipeline, compiles it, and returns its nodes by name."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, EXAMPLE.name, "exec"), names)
    pipeline = names["_create_pipeline"](
        pipeline_name="taxi",
        pipeline_root=str(folder / "root"),
        data_root=str(folder / "data"),
        module_file=str(EXAMPLE.with_name("taxi_utils_native_keras.py")),
        serving_model_dir=str(folder / "serving"),
        metadata_path=str(folder / "metadata.sqlite"),
        beam_pipeline_args=[],
    )
    nodes = compiler.Compiler().compile(pipeline).nodes
    return {n.pipeline_node.node_info.id: n.pipeline_node for n in nodes}


def test_the_lines_of_readme_fit_an_example_of_tfx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TFX_REGISTRY_URI", f"sqlite:///{tmp_path}/registry.sqlite")
    example = EXAMPLE.read_text(encoding="utf-8")
    before, after = compiled(example, tmp_path), compiled(changed(example), tmp_path)
    assert set(before) - set(after) == {"Pusher"}
    assert set(after) - set(before) == {"ModelRegistrar", "VersionGate", "Promoter"}
    assert list(after)[-3:] == ["ModelRegistrar", "VersionGate", "Promoter"]
    assert set(after["Promoter"].upstream_nodes) == {"Trainer", "ModelRegistrar", "VersionGate"}
    assert set(after["VersionGate"].upstream_nodes) == {
        "Trainer",
        "ModelRegistrar",
        "CsvExampleGen",
    }
