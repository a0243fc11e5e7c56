"""Promoter's smoke test: examples on which a model has to predict before a server can see it."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from tfx import types
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from tfx_registry import ModelRegistry
from tfx_registry.components import ModelVersion, Promoter
from tfx_registry.components.promoter import executor
from tfx_registry.errors import InvalidInputError, RefusedError
from tfx_registry.serving import SmokeTest, smoke


def destination(base: Path) -> pusher_pb2.PushDestination:
    found = pusher_pb2.PushDestination()
    found.filesystem.base_directory = str(base)
    return found


@pytest.mark.parametrize(("program", "passes"), [("", True), ("raise SystemExit('NaN')", False)])
def test_what_does_not_predict_is_not_pushed(
    saved_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    passes: bool,
) -> None:
    (tmp_path / "stand_in.py").write_text(program, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(smoke, "_MODULE", "stand_in")
    (tmp_path / "examples.json").write_text("[1]", encoding="utf-8")
    uri, serving = f"sqlite:///{tmp_path}/r.sqlite", tmp_path / "serving"
    with ModelRegistry.open(uri) as registry:
        registry.register("triple", saved_model)
        registry.override("triple", 1, reason="test", expires=datetime.timedelta(1))
    model = standard_artifacts.Model()
    model.uri = str(saved_model)
    version = ModelVersion()
    version.set_string_custom_property("model_name", "triple")
    version.set_string_custom_property("version", "1")
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "pushed")

    def push() -> None:
        executor.Executor().Do(
            {"model": [model], "model_version": [version]},
            {"pushed_model": [pushed]},
            {
                "push_destination": proto_utils.proto_to_json(destination(serving)),
                "registry": uri,
                "smoke_test": SmokeTest(str(tmp_path / "examples.json")).to_json(),
            },
        )

    if passes:
        push()
        assert (serving / "1" / "saved_model.pb").is_file()
        assert pushed.get_int_custom_property("pushed") == 1
        return
    with pytest.raises(RefusedError, match="NaN"):
        push()
    assert [path.name for path in serving.iterdir()] == [".tfx_registry"]


def test_the_test_travels_as_text() -> None:
    test = SmokeTest("examples.json", signature="other", timeout_seconds=7.0)
    component = Promoter(
        model=types.Channel(type=standard_artifacts.Model),
        model_version=types.Channel(type=ModelVersion),
        push_destination=destination(Path("serving")),
        smoke_test=test,
    )
    assert SmokeTest.from_json(component.exec_properties["smoke_test"]) == test
    with pytest.raises(InvalidInputError, match="invalid smoke test"):
        SmokeTest.from_json('{"examples": 3}')
