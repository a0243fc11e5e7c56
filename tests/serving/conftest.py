"""A registry, a serving directory, a model config, and emulated servers that follow it."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.operations.rollouts import Rollout, promote_by_config
from tfx_registry.operations.servers import Servers
from tfx_registry.registry import fold
from tfx_registry.serving.model_config import ServedModel, SpecificVersions
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server import LoadError, ModelServerEmulator
from tfx_registry.testing.model_server.loaders import Loaded, ValidatingLoader

MODEL = "penguin"


class Refusing(ValidatingLoader):
    """Cannot load some versions."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    def load(self, path: str) -> Loaded:
        if Path(path).name in self.refused:
            raise LoadError("RESOURCE_EXHAUSTED", "no memory")
        return super().load(path)


@dataclasses.dataclass
class Place:
    """A registry with four versions that may be promoted, a directory, a config, and servers."""

    registry: ModelRegistry
    folder: Path
    running: list[ModelServerEmulator] = dataclasses.field(default_factory=list)
    loader: Refusing = dataclasses.field(default_factory=Refusing)

    @property
    def base(self) -> Path:
        return self.folder / "serving" / MODEL

    @property
    def config(self) -> Path:
        return self.folder / "models.config"

    def start(self, **options: Any) -> ModelServerEmulator:
        options = {
            "loader": self.loader,
            "allow_version_labels_for_unavailable_models": True,
            **options,
        }
        server = ModelServerEmulator(
            model_config_file=self.config, model_config_file_poll_wait_seconds=0.01,
            file_system_poll_wait_seconds=0.01, max_num_load_retries=0,
            load_retry_interval_seconds=0.0, **options,
        ).start()  # fmt: skip
        self.running.append(server)
        return server

    @property
    def servers(self) -> Servers:
        return Servers(
            tuple(server.url for server in self.running), deadline_seconds=60, poll_seconds=0.01
        )

    def promote(self, number: int, **options: Any) -> Rollout:
        options = {"servers": self.servers, **options}
        return promote_by_config(self.registry, MODEL, number, self.base, self.config, **options)

    def entry(self, name: str = MODEL) -> ServedModel | None:
        return next((m for m in ModelConfigFile.peek(self.config) if m.name == name), None)

    def said(self) -> tuple[tuple[int, ...], Mapping[str, int]]:
        entry = self.entry()
        assert entry is not None
        assert isinstance(entry.policy, SpecificVersions)
        return entry.policy.numbers, entry.labels

    def aliases(self) -> dict[str, int]:
        return dict(self.registry.head(MODEL).aliases)

    def check_log(self) -> None:
        events = self.registry.history(MODEL)
        assert fold.replay(events).head == self.registry.head(MODEL)

    def kinds(self, since: int = 0) -> list[str]:
        return [event.kind for event in self.registry.history(MODEL) if event.seq > since]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ModelRegistry.open("memory://") as registry:
        for number in (1, 2, 3, 4):
            path = write_minimal_model(tmp_path / "models" / str(number), f"note {number}")
            registry.register(MODEL, path, actor="ada")
            registry.override(
                MODEL, number, reason="test", expires=datetime.timedelta(1), actor="ada"
            )
        place = Place(registry, tmp_path)
        yield place
        place.check_log()
        for server in place.running:
            server.close()


@pytest.fixture
def serving(place: Place) -> Place:
    """Version 1 serves in two servers, which know its label."""
    place.promote(1, servers=Servers(no_wait=True))
    place.start()
    place.start()
    assert not place.promote(1).changed
    return place
