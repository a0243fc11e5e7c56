"""A model with some versions, and its serving directory: of files, or in an object store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, promote
from tfx_registry.promotion import Promotion
from tfx_registry.records import Verdict, Version
from tfx_registry.registry import fold
from tfx_registry.registry.events import Decided
from tfx_registry.serving import list_version_directories
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.object_stores import GcsServer, ObjectStoreServer, S3Server
from tfx_registry.testing.store_world import MemoryStore, StoreWorld

MODEL = "penguin"


@dataclass
class World:
    """A registry with one model, and what a server would see of it.

    Attributes:
        registry: The registry.
        folder: Where the models lie that were registered.
        base: The serving base directory.
    """

    registry: ModelRegistry
    folder: Path
    base: Path

    def register(self, count: int = 1) -> Version:
        """Registers models, each with bytes of its own; returns the last version."""
        for _ in range(count):
            number = self.registry.latest_number(MODEL) + 1
            path = self.folder / f"model{number}"
            write_minimal_model(path, f"model {number}")
            version = self.registry.register(MODEL, path)
        return version

    def decide(self, number: int, alias: str = "production") -> None:
        """Lets a version pass, against what serves now."""
        serving = self.registry.serving(MODEL, alias)
        decision = Decided(
            number,
            Verdict.PASSED,
            self.registry.get(MODEL, number).digest,
            alias,
            baseline=serving.number if serving else None,
            serving_seq=serving.seq if serving else 0,
        )
        self.registry.record_decision(MODEL, decision)

    def promote(
        self, number: int, base: Path | None = None, alias: str = "production"
    ) -> Promotion:
        """Decides and promotes."""
        self.decide(number, alias)
        return promote(self.registry, MODEL, number, base or self.base, alias=alias)

    def visible(self, base: Path | None = None) -> list[int]:
        """The versions that a server sees."""
        return list(list_version_directories(base or self.base))

    def serving(self, alias: str = "production") -> int | None:
        """What serves by the registry; checks that alias, version and log say the same."""
        deployment = self.registry.serving(MODEL, alias)
        head = self.registry.head(MODEL)
        state = fold.replay(self.registry.history(MODEL))
        assert state.head == head
        assert self.registry.fsck().findings == ()
        if deployment is None:
            return None
        version = self.registry.get(MODEL, deployment.number)
        assert deployment.destination in version.serving
        assert head.aliases[alias] == deployment.number
        return deployment.number

    def kinds(self) -> list[str]:
        """The kinds of all events, oldest first."""
        return [event.kind for event in self.registry.history(MODEL)]


def make_world(folder: Path) -> World:
    """Nothing registered yet."""
    registry = ModelRegistry.open("memory://")
    return World(registry, folder / "models", folder / "serving" / MODEL)


def promote_three(world: World) -> World:
    """Promotes versions 1, 2 and 3 one after the other; 3 serves."""
    for number in (1, 2, 3):
        world.register()
        world.promote(number)
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Nothing registered yet."""
    return make_world(tmp_path)


@pytest.fixture
def served(world: World) -> World:
    """Versions 1, 2 and 3 were promoted one after the other; 3 serves."""
    return promote_three(world)


@pytest.fixture
def served_anew(tmp_path: Path) -> Callable[[], World]:
    """Makes such a world as often as it is called, each in a folder of its own."""
    counter = itertools.count()
    return lambda: promote_three(make_world(tmp_path / str(next(counter))))


@pytest.fixture(scope="module", params=[S3Server, GcsServer], ids=["s3", "gcs"])
def running(request: pytest.FixtureRequest) -> Iterator[ObjectStoreServer]:
    """An emulated store with a bucket."""
    with request.param() as server:
        server.make_bucket("models")
        yield server


@pytest.fixture
def stored(
    running: ObjectStoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StoreWorld]:
    """A directory in an emulated store."""
    running.faults.clear()
    monkeypatch.setenv("TFX_REGISTRY_OBJECTS_BACKOFF_SECONDS", "0.01")
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    made = StoreWorld(tmp_path, f"{running.scheme}://models/{tmp_path.name}/penguin")
    yield made
    made.registry.close()


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """A bucket that answers at once, in the place of all stores."""
    made = MemoryStore()
    for module in ("directory", "view", "models", "model_config"):
        monkeypatch.setattr(f"tfx_registry.serving.objects.{module}.open_bucket", made.open)
    return made


@pytest.fixture
def quick(memory: MemoryStore, tmp_path: Path) -> Iterator[StoreWorld]:
    """A directory in a bucket that answers at once."""
    made = StoreWorld(tmp_path, "s3://models/penguin")
    yield made
    made.registry.close()
