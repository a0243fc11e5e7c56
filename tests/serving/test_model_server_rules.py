"""The emulator follows TensorFlow Serving's rules: one case for each rule."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server import (
    Loader,
    LoadError,
    ModelServerEmulator,
    ModelServerStartError,
)
from tfx_registry.testing.model_server.loaders import Loaded, ValidatingLoader
from tfx_registry.testing.model_server.source import (
    MissingBasePathError,
    ModelConfig,
    aspired_versions,
    simple_atoi,
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "penguin"
    folder.mkdir()
    return folder


class Flaky:
    """Fails as often as it is told, and counts."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.tries: list[str] = []
        self._inner = ValidatingLoader()

    def load(self, path: str) -> Loaded:
        self.tries.append(Path(path).name)
        if self.failures:
            self.failures -= 1
            raise LoadError("RESOURCE_EXHAUSTED", "no memory")
        return self._inner.load(path)

    def close(self) -> None:
        self._inner.close()


def serve(base: Path, loader: Loader | None = None, **options: Any) -> ModelServerEmulator:
    options = {"max_num_load_retries": 0, "load_retry_interval_seconds": 0.0, **options}
    return ModelServerEmulator(model_name="penguin", model_base_path=base, loader=loader, **options)


def states(server: ModelServerEmulator, model: str = "penguin") -> dict[int, str]:
    return {number: status.state for number, status in server.statuses(model).items()}


# What counts as a version


@pytest.mark.parametrize(
    ("name", "number"),
    [("1", 1), ("001", 1), ("+7", 7), ("-7", -7), (" 8 ", 8), ("1700000000", 1700000000),
     ("9223372036854775807", 2**63 - 1), ("9223372036854775808", None), ("1.0", None),
     ("", None), ("1a", None), (".tfx_registry", None), ("0x1", None), ("1_0", None),
     ("temp-1", None), ("- 1", None), ("\u0661", None)],
)  # fmt: skip
def test_which_names_are_versions(name: str, number: int | None) -> None:
    assert simple_atoi(name) == number


@pytest.mark.parametrize(
    ("policy", "children", "expected"),
    [
        ({}, ["1", "2", "10", "x"], ["10"]),
        ({"latest": 2}, ["1", "2", "10"], ["10", "2"]),
        ({"latest": 0}, ["1", "2"], ["2"]),
        ({"policy": "all"}, ["1", "2", "x"], ["1", "2"]),
        ({"policy": "all"}, ["1", "001"], ["001", "1"]),
        ({}, ["001", "1"], ["1"]),
        ({}, ["1", "+1"], ["1"]),
        ({"policy": "specific", "versions": (1, 3)}, ["1", "2", "3"], ["1", "3"]),
        ({"policy": "specific", "versions": (3, 1)}, ["1", "2", "3"], ["3", "1"]),
        ({"policy": "specific", "versions": (1, 3)}, ["001", "2"], ["001"]),
        ({"policy": "specific", "versions": (9,)}, ["1"], []),
        ({"policy": "specific"}, ["1"], []),
        ({}, ["x"], []),
        ({}, [], []),
    ],
)
def test_policies(
    base: Path, policy: dict[str, Any], children: list[str], expected: list[str]
) -> None:
    for child in children:
        (base / child).mkdir()
    found = aspired_versions(ModelConfig("penguin", str(base), **policy))
    assert [Path(version.path).name for version in found] == expected


def test_a_missing_base_path_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(MissingBasePathError):
        aspired_versions(ModelConfig("penguin", str(tmp_path / "missing")))


def test_a_file_with_a_number_as_its_name_is_a_version_too(base: Path) -> None:
    (base / "3").write_text("no model")
    assert [v.version for v in aspired_versions(ModelConfig("penguin", str(base)))] == [3]


# What is loaded and unloaded, in which order


def test_the_new_version_is_loaded_before_the_old_one_is_unloaded(base: Path) -> None:
    write_minimal_model(base / "1")
    seen = []
    with serve(base) as server:

        class Watching(ValidatingLoader):
            def load(self, path: str) -> Loaded:
                seen.append(states(server))
                return super().load(path)

        server._manager._loader = Watching()
        server.poll_once()
        write_minimal_model(base / "2")
        server.poll_once()
        assert seen == [{1: "LOADING"}, {1: "AVAILABLE", 2: "LOADING"}]
        assert states(server) == {1: "END", 2: "AVAILABLE"}
        assert server.statuses("penguin")[1].error_code == "OK"


def test_the_old_version_serves_on_when_the_new_one_fails(base: Path) -> None:
    write_minimal_model(base / "1")
    with serve(base) as server:
        server.poll_once()
        (base / "2").mkdir()
        server.poll_once()
        assert states(server) == {1: "AVAILABLE", 2: "END"}
        assert server.statuses("penguin")[2].error_code == "NOT_FOUND"
        assert server.resolve("penguin")[0] == 1


def test_an_empty_base_path_unloads_everything_and_a_missing_one_nothing(base: Path) -> None:
    write_minimal_model(base / "1")
    with serve(base) as server:
        server.poll_once()
        base.rename(base.with_name("away"))
        server.poll_once()
        assert states(server) == {1: "AVAILABLE"}
        assert "Could not find base path" in server.errors[-1]
        base.mkdir()
        server.poll_once()
        assert states(server) == {1: "END"}


def test_a_failed_version_is_tried_again_only_after_it_was_gone(base: Path) -> None:
    loader = Flaky()
    write_minimal_model(base / "1")
    with serve(base, loader) as server:
        server.poll_once()
        loader.failures = 1
        write_minimal_model(base / "2")
        for _ in range(3):
            server.poll_once()
        assert loader.tries == ["1", "2"]
        shutil.rmtree(base / "1")
        (base / "2").rename(base / "away")
        server.poll_once()
        (base / "away").rename(base / "2")
        server.poll_once()
        assert loader.tries == ["1", "2", "2"]
        assert states(server) == {1: "END", 2: "AVAILABLE"}


def test_a_dropped_version_that_still_serves_keeps_a_request_for_it_waiting(base: Path) -> None:
    """2 fails and is taken away. 1 was dropped for it and serves on; the server sits on that."""
    write_minimal_model(base / "1")
    with serve(base) as server:
        server.poll_once()
        (base / "2").mkdir()
        server.poll_once()
        (base / "2").rmdir()
        server.poll_once()
        assert states(server) == {1: "AVAILABLE", 2: "END"}
        write_minimal_model(base / "3")
        server.poll_once()
        assert states(server) == {1: "END", 2: "END", 3: "AVAILABLE"}


@pytest.mark.parametrize(("retries", "failures", "tries", "state"), [
    (0, 1, 1, "END"), (2, 2, 3, "AVAILABLE"), (2, 3, 3, "END"), (5, 6, 6, "END"),
])  # fmt: skip
def test_max_num_load_retries_counts_the_tries_after_the_first(
    base: Path, retries: int, failures: int, tries: int, state: str
) -> None:
    loader = Flaky()
    write_minimal_model(base / "1")
    with serve(base, loader, max_num_load_retries=retries) as server:
        server.poll_once()
        loader.failures = failures
        write_minimal_model(base / "2")
        server.poll_once()
        assert loader.tries == ["1", *["2"] * tries]
        assert states(server)[2] == state


def test_going_back_by_taking_the_newer_directory_away(base: Path) -> None:
    write_minimal_model(base / "1")
    write_minimal_model(base / "2")
    with serve(base) as server:
        server.poll_once()
        assert states(server) == {2: "AVAILABLE"}
        (base / "2").rename(base / "2.withdrawn")
        server.poll_once()
        assert states(server) == {1: "AVAILABLE", 2: "END"}


# What a load notices


def test_loading_by_the_letter(base: Path) -> None:
    loader = ValidatingLoader()
    cases = {"empty": "NOT_FOUND", "broken": "DATA_LOSS", "training": "NOT_FOUND"}
    (base / "empty").mkdir()
    write_minimal_model(base / "broken")
    (base / "broken" / "saved_model.pb").write_bytes(b"\xff\xff")
    write_minimal_model(base / "training", tag="train")
    for name, code in cases.items():
        with pytest.raises(LoadError) as raised:
            loader.load(str(base / name))
        assert raised.value.code == code, name
    write_minimal_model(base / "unindexed")
    (base / "unindexed" / "variables").mkdir()
    (base / "unindexed" / "variables" / "variables.data-00000-of-00001").write_bytes(b"x")
    loader.load(str(base / "unindexed"))
    assert loader.uninitialised == [str(base / "unindexed")]


# Starting


def test_a_server_whose_first_model_fails_does_not_start(base: Path) -> None:
    (base / "1").mkdir()
    with serve(base) as server, pytest.raises(ModelServerStartError, match="did not become"):
        server.poll_once()


def test_a_server_waits_for_its_first_version_before_it_listens(base: Path) -> None:
    with serve(base) as server:
        server.poll_once()
        assert server._rest._thread is None
        write_minimal_model(base / "1")
        server.poll_once()
        assert server._rest._thread is not None


def test_nothing_to_serve() -> None:
    with pytest.raises(ModelServerStartError):
        ModelServerEmulator()


# Config file


class Config:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "models.config"
        self.folder = folder

    def write(self, *models: tuple[str, list[int], dict[str, int]]) -> None:
        text = ""
        for name, versions, labels in models:
            numbers = "".join(f"versions: {n} " for n in versions)
            label = "".join(
                f'version_labels {{ key: "{key}" value: {n} }} ' for key, n in labels.items()
            )
            text += (
                f'config {{ name: "{name}" base_path: "{self.folder / name}" '
                f'model_platform: "tensorflow" '
                f"model_version_policy {{ specific {{ {numbers}}} }} {label}}}\n"
            )
        self.path.write_text(f"model_config_list {{\n{text}}}\n")

    def serve(self, **options: Any) -> ModelServerEmulator:
        return ModelServerEmulator(
            model_config_file=self.path, model_config_file_poll_wait_seconds=1,
            max_num_load_retries=0, load_retry_interval_seconds=0.0, **options,
        )  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for name in ("iris", "penguin"):
        for number in (1, 2, 3):
            write_minimal_model(tmp_path / name / str(number))
    return Config(tmp_path)


def test_a_reload_replaces_the_whole_set(config: Config) -> None:
    config.write(("iris", [1], {}), ("penguin", [1, 2], {}))
    with config.serve() as server:
        server.poll_once()
        assert states(server, "iris") == {1: "AVAILABLE"}
        assert states(server) == {1: "AVAILABLE", 2: "AVAILABLE"}
        config.write(("penguin", [2, 3], {}))
        server.poll_once()
        assert states(server, "iris") == {1: "END"}
        assert states(server) == {1: "END", 2: "AVAILABLE", 3: "AVAILABLE"}


@pytest.mark.parametrize(
    "text",
    ["model_config_list {", "nonsense: 1",
     'model_config_list { config { name: "a" base_path: "b" model_platform: "tensorflow" } }',
     'model_config_list { config { name: "a" base_path: "/b" } }'],
)  # fmt: skip
def test_a_config_that_is_wrong_keeps_the_old_one(config: Config, text: str) -> None:
    config.write(("penguin", [1], {}))
    with config.serve() as server:
        server.poll_once()
        config.path.write_text(text)
        server.poll_once()
        assert states(server) == {1: "AVAILABLE"}
        assert len(server.errors) == 1
        config.write(("penguin", [2], {}))
        server.poll_once()
        assert states(server) == {1: "END", 2: "AVAILABLE"}


def test_a_missing_config_keeps_the_old_one_and_ends_a_start(config: Config) -> None:
    config.write(("penguin", [1], {}))
    with config.serve() as server:
        server.poll_once()
        config.path.unlink()
        server.poll_once()
        assert states(server) == {1: "AVAILABLE"}
    with config.serve() as server, pytest.raises(ModelServerStartError):
        server.poll_once()


def test_a_config_is_read_once_only_unless_told(config: Config) -> None:
    config.write(("penguin", [1], {}))
    with ModelServerEmulator(model_config_file=config.path) as server:
        server.poll_once()
        config.write(("penguin", [2], {}))
        server.poll_once()
        assert states(server) == {1: "AVAILABLE"}


def test_a_label_needs_an_available_version(config: Config) -> None:
    config.write(("penguin", [1], {}))
    with config.serve() as server:
        server.poll_once()
        config.write(("penguin", [1], {"stable": 1}))
        server.poll_once()
        assert server.labels("penguin") == {"stable": 1}
        # In one step, the version is not there when the label is set, and so it never comes.
        config.write(("penguin", [1, 2], {"stable": 1, "canary": 2}))
        for _ in range(3):
            server.poll_once()
        assert states(server) == {1: "AVAILABLE"}
        assert "not currently available" in server.errors[-1]
        # In two steps it works.
        config.write(("penguin", [1, 2], {"stable": 1}))
        server.poll_once()
        config.write(("penguin", [1, 2], {"stable": 1, "canary": 2}))
        server.poll_once()
        assert server.labels("penguin") == {"stable": 1, "canary": 2}
        assert server.resolve("penguin", label="canary")[0] == 2
        # A label moves away and the version it left is dropped in the same step.
        config.write(("penguin", [2], {"stable": 2}))
        server.poll_once()
        assert server.labels("penguin") == {"stable": 2}
        assert states(server) == {1: "END", 2: "AVAILABLE"}
        with pytest.raises(LoadError, match="Unrecognized servable version label: canary"):
            server.resolve("penguin", label="canary")


def test_one_wrong_label_holds_up_all_models_of_the_file(config: Config) -> None:
    config.write(("iris", [1], {}), ("penguin", [1], {}))
    with config.serve() as server:
        server.poll_once()
        config.write(("iris", [2], {}), ("penguin", [1], {"stable": 2}))
        server.poll_once()
        assert states(server, "iris") == {1: "AVAILABLE"}


def test_a_config_with_labels_needs_the_flag_at_the_start(config: Config) -> None:
    config.write(("penguin", [1, 2], {"stable": 1}))
    with config.serve() as server, pytest.raises(ModelServerStartError, match="assign label"):
        server.poll_once()
    with config.serve(allow_version_labels_for_unavailable_models=True) as server:
        server.poll_once()
        assert server.labels("penguin") == {"stable": 1}
        config.write(("penguin", [1, 3], {"stable": 3}))
        server.poll_once()  # the flag is for new labels, and this one exists
        assert server.labels("penguin") == {"stable": 1}
        assert states(server) == {1: "AVAILABLE", 2: "AVAILABLE"}
        config.write(("penguin", [1, 3], {"stable": 1, "canary": 3}))
        server.poll_once()
        assert server.labels("penguin") == {"stable": 1, "canary": 3}


def test_one_missing_base_path_holds_up_the_poll_of_all_models(config: Config) -> None:
    config.write(("iris", [1], {}), ("penguin", [1], {}))
    with config.serve() as server:
        server.poll_once()
        shutil.rmtree(config.folder / "iris")
        config.write(("iris", [1], {}), ("penguin", [2], {}))
        server.poll_once()
        assert states(server) == {1: "AVAILABLE"}


def test_without_a_version_or_label_the_highest_answers(config: Config) -> None:
    config.write(("penguin", [1, 3], {}))
    with config.serve() as server:
        server.poll_once()
        assert server.resolve("penguin")[0] == 3
        with pytest.raises(LoadError, match="Servable not found"):
            server.resolve("penguin", 2)
