"""Model configs, canaries and their ends where the serving directory lies in an object store."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import Retention, promote, prune, reconcile, rollback
from tfx_registry.digest import digest_path
from tfx_registry.errors import InvalidInputError, NotServedError, RefusedError
from tfx_registry.operations import (
    Rollout,
    Servers,
    abort,
    promote_by_config,
    promote_canary,
    rollout_steps,
    verify,
)
from tfx_registry.operations.bases import config_at
from tfx_registry.serving.model_config import LatestVersions, ServedModel, SpecificVersions
from tfx_registry.serving.objects.models import upload_tree
from tfx_registry.testing.memory_bucket import DeadError
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server import ModelServerEmulator
from tfx_registry.testing.store_world import MODEL, MemoryStore, StoreWorld, die_at_each_request

BLIND = Servers(no_wait=True)


class Rolling:
    """A directory in a store whose servers are told by a model config what to load."""

    def __init__(self, world: StoreWorld, config: str) -> None:
        self.world = world
        self.config = config
        self.running: list[ModelServerEmulator] = []

    def start(self) -> ModelServerEmulator:
        server = ModelServerEmulator(
            model_config_file=self.config, model_config_file_poll_wait_seconds=0.01,
            file_system_poll_wait_seconds=0.01, max_num_load_retries=0,
            load_retry_interval_seconds=0.0, allow_version_labels_for_unavailable_models=True,
        ).start()  # fmt: skip
        self.running.append(server)
        return server

    @property
    def servers(self) -> Servers:
        urls = tuple(server.url for server in self.running)
        return Servers(urls, deadline_seconds=60, poll_seconds=0.01)

    def promote(self, number: int | None = None, **options: Any) -> Rollout:
        number = number or self.world.register()
        self.world.decide(number)
        options = {"servers": self.servers if self.running else BLIND, **options}
        place = (self.world.registry, MODEL, number, self.world.url, self.config)
        if not self.running:
            with contextlib.suppress(RefusedError):  # it is listed, and its label comes second
                return promote_by_config(*place, **options)
        return promote_by_config(*place, **options)

    def said(self) -> tuple[tuple[int, ...], dict[str, int]]:
        (entry,) = config_at(self.config).peek(self.config)
        assert entry.base_path == self.world.url
        assert isinstance(entry.policy, SpecificVersions)
        return entry.policy.numbers, dict(entry.labels)

    def recorded(self) -> dict[str, int]:
        head = self.world.registry.head(MODEL)
        labels = {"stable": head.deployments[self.world.url].number}
        trial = head.canaries.get(self.world.url)
        return {**labels, "canary": trial.number} if trial else labels

    def in_order(self) -> None:
        found = self.world.status(hash_all=True)
        assert (found.problems, found.unfinished) == ((), None)
        assert set(self.world.look().values()) == {"whole"}
        assert self.said()[1] == self.recorded()
        assert self.world.serves() == self.recorded()["stable"]
        done = reconcile(self.world.registry, self.world.url)
        assert (done.actions, done.problems) == ((), ())
        for server in self.running:
            assert server.labels(MODEL) == self.recorded()
            assert server.errors == []


def refuse(server: ModelServerEmulator, number: int) -> None:
    """Lets a server find nothing in a version."""
    loader: Any = server._manager._loader  # type: ignore[attr-defined]
    load = loader.load
    loader.load = lambda path: load("s3://models/nothing" if path.endswith(f"/{number}") else path)


@pytest.fixture(params=["in the store", "on disk"])
def rolling(quick: StoreWorld, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rolling]:
    """Version 1 is stable; the config lies beside the directory, or on this machine."""
    disk = request.param == "on disk"
    made = Rolling(quick, str(tmp_path / "models.config") if disk else "s3://models/models.config")
    made.promote()
    yield made
    for server in made.running:
        server.close()


@pytest.fixture
def stored_config(quick: StoreWorld) -> Iterator[Rolling]:
    """Version 1 is stable by a config in the store."""
    made = Rolling(quick, "s3://models/models.config")
    made.promote()
    yield made
    for server in made.running:
        server.close()


def test_a_canary_comes_to_serve_and_goes_back(rolling: Rolling) -> None:
    world, registry = rolling.world, rolling.world.registry
    rolling.start()
    server = rolling.start()
    done = rolling.promote(canary=True)
    assert (done.version.number, done.label, done.path) == (2, "canary", f"{world.url}/2")
    assert rolling.said() == ((1, 2), {"stable": 1, "canary": 2})
    found = world.status()
    assert (found.canary.number if found.canary else 0, found.problems) == (2, ())
    assert "on trial" in {place.role for place in verify(registry, MODEL, 2).places}
    assert server.resolve(MODEL, label="canary")[0] == 2
    rolling.in_order()
    done = promote_canary(registry, MODEL, world.url, number=2, servers=rolling.servers)
    assert (done.label, done.replaces) == ("stable", 1)
    assert rolling.said() == ((1, 2), {"stable": 2})
    rolling.in_order()
    back = rollback(registry, MODEL, world.url, reason="slow", servers=rolling.servers)
    assert (back.version.number, back.withdrawn, back.changed) == (1, (), True)
    assert rolling.said()[1] == {"stable": 1}
    assert world.look() == {1: "whole", 2: "whole"}, "nothing is put away in this mode"
    rolling.in_order()


def test_in_an_emulated_store(stored: StoreWorld) -> None:
    rolling = Rolling(stored, f"{stored.url}.config")
    rolling.promote()
    rolling.promote(canary=True)
    assert rolling.said() == ((1, 2), {"stable": 1, "canary": 2})
    promote_canary(stored.registry, MODEL, stored.url, servers=BLIND)
    rolling.in_order()
    rollback(stored.registry, MODEL, stored.url, reason="slow", servers=BLIND)
    assert rolling.said() == ((1,), {"stable": 1})
    rolling.in_order()


def test_a_model_in_a_store_goes_to_a_directory_of_files(quick: StoreWorld, tmp_path: Path) -> None:
    """As on Kubeflow with a volume that the servers mount."""
    path = write_minimal_model(tmp_path / "model")
    upload_tree(path, "s3://models/run/7/model")
    version = quick.registry.register(MODEL, "s3://models/run/7/model")
    quick.decide(version.number)
    place = (quick.registry, MODEL, 1, tmp_path / "serving", tmp_path / "models.config")
    done = promote_by_config(*place, servers=BLIND)
    assert digest_path(done.path) == digest_path(path)
    assert not Path("s3:").exists()


def test_a_trial_ends(rolling: Rolling) -> None:
    world = rolling.world
    rolling.start()
    rolling.promote(canary=True)
    done = abort(world.registry, MODEL, world.url, servers=rolling.servers, reason="p99 is up")
    assert done.version.number == 2
    assert rolling.said() == ((1,), {"stable": 1})
    rolling.in_order()
    assert rolling.promote(2, canary=True).changed, "it may go on trial again"
    rolling.in_order()


def test_what_cannot_be_loaded_goes_out_of_the_config(rolling: Rolling) -> None:
    number = rolling.world.register()
    refuse(rolling.start(), number)
    with pytest.raises(NotServedError, match="Could not find SavedModel"):
        rolling.promote(number)
    assert rolling.said() == ((1,), {"stable": 1})
    assert rolling.world.serves() == 1
    rolling.in_order()


def test_retention_keeps_what_the_config_lists(rolling: Rolling) -> None:
    world = rolling.world
    for _ in range(3):
        rolling.promote(keep_loaded=1)
    rolling.promote(canary=True)
    (entry,) = config_at(rolling.config).peek(rolling.config)
    with config_at(rolling.config).lock(rolling.config) as file:
        file.put(
            dataclasses.replace(
                entry, policy=SpecificVersions((1, 3, 4, 5)), labels={**entry.labels, "frozen": 1}
            )
        )
    plan = prune(world.registry, MODEL, world.url, Retention(1))
    assert [removal.number for removal in plan.removed] == [2]
    kept = {kept.number: kept.reasons for kept in plan.kept}
    assert f"{rolling.config!r} lists it" in kept[1]
    assert "alias canary" in kept[5]
    prune(world.registry, MODEL, world.url, Retention(1), dry_run=False)
    assert world.look().keys() == {1, 3, 4, 5}
    found = reconcile(world.registry, world.url)
    assert found.problems == ()
    assert rolling.said() == ((1, 3, 4, 5), {"stable": 4, "canary": 5, "frozen": 1})


def test_a_directory_has_one_mode(rolling: Rolling) -> None:
    world = rolling.world
    number = world.register()
    world.decide(number)
    with pytest.raises(RefusedError, match="--model-config"):
        promote(world.registry, MODEL, number, world.url)
    with pytest.raises(InvalidInputError, match="--model-config FILE"):
        promote_by_config(world.registry, MODEL, number, "s3://models/other")
    assert world.look() == {1: "whole"}


@pytest.fixture
def latest(quick: StoreWorld) -> Iterator[Rolling]:
    """Version 1 serves; a server follows a config that says to load the latest version."""
    made = Rolling(quick, "s3://models/models.config")
    quick.promote()
    with config_at(made.config).lock(made.config) as file:
        file.put(ServedModel(MODEL, quick.url, LatestVersions()))
    made.start()
    assert not promote(quick.registry, MODEL, 1, quick.url, servers=made.servers).changed
    yield made
    for server in made.running:
        server.close()


def is_as_before(latest: Rolling) -> None:
    world = latest.world
    assert world.look() == {1: "whole"}, "a server that loads the latest version would load it"
    (entry,) = config_at(latest.config).peek(latest.config)
    assert (entry.policy, entry.labels) == (LatestVersions(), {})
    assert world.registry.head(MODEL).rollouts == {}
    assert world.status().problems == ()
    done = reconcile(world.registry, world.url)
    assert (done.actions, done.problems) == ((), ())


def test_from_latest_to_a_config(latest: Rolling) -> None:
    """Servers that load the latest version are told to stay, before the new one is visible."""
    (server,) = latest.running
    assert latest.promote().replaces == 1
    assert latest.said() == ((1, 2), {"stable": 2})
    assert server.labels(MODEL) == {"stable": 2}
    latest.in_order()


def test_a_first_rollout_that_cannot_be_loaded_is_put_away(latest: Rolling) -> None:
    refuse(latest.running[0], 2)
    with pytest.raises(NotServedError, match="Could not find SavedModel"):
        latest.promote()
    is_as_before(latest)


@pytest.mark.parametrize("undo", [abort, lambda *place: reconcile(place[0], place[2])])
def test_a_first_rollout_that_died_is_put_away(
    latest: Rolling, undo: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise DeadError

    with monkeypatch.context() as patch:
        patch.setattr(rollout_steps.RolloutSteps, "load", die)
        with pytest.raises(DeadError):
            latest.promote()
    world = latest.world
    assert world.look() == {1: "whole", 2: "whole"}
    undo(world.registry, MODEL, world.url)
    is_as_before(latest)


def test_a_first_rollout_waits_for_the_servers_before_anything_is_visible(
    quick: StoreWorld,
) -> None:
    quick.promote()
    number = quick.register()
    quick.decide(number)
    place = (quick.registry, MODEL, number, quick.url, "s3://models/models.config")
    with pytest.raises(RefusedError, match="--no-wait"):
        promote_by_config(*place)
    assert quick.look() == {1: "whole"}
    promote_by_config(*place, servers=BLIND)
    Rolling(quick, "s3://models/models.config").in_order()


def test_what_is_on_trial_and_gone_comes_back_or_its_trial_ends(
    stored_config: Rolling, memory: MemoryStore
) -> None:
    world = stored_config.world
    stored_config.promote(canary=True)
    for key in memory.below("2"):
        del memory.bucket.contents[key]
    assert "is on trial and is missing" in world.status().problems[0]
    done = reconcile(world.registry, world.url)
    assert done.actions == ("made version 2 visible, which is on trial",)
    stored_config.in_order()
    for key in [*memory.below("2"), *memory.below(".tfx_registry/versions")]:
        del memory.bucket.contents[key]
    (world.folder / "model2").rename(world.folder / "elsewhere")
    done = reconcile(world.registry, world.url)
    assert any("ended the trial of version 2" in action for action in done.actions)
    assert stored_config.said() == ((1,), {"stable": 1})
    assert reconcile(world.registry, world.url).actions == ()


def test_an_edit_by_hand_in_the_same_instant_is_kept(
    stored_config: Rolling, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, swap, edits = memory.bucket, memory.bucket._swap, ["# by hand\n"]

    def crossing(key: str, data: bytes, tag: str) -> str | None:
        if key == "models.config" and edits:
            bucket._put(key, edits.pop().encode() + bucket.contents[key][0])
        return swap(key, data, tag)

    monkeypatch.setattr(bucket, "_swap", crossing)
    stored_config.promote(canary=True)
    assert edits == []
    text = bucket.contents["models.config"][0].decode()
    assert text.startswith("# by hand\n")
    assert stored_config.said() == ((1, 2), {"stable": 1, "canary": 2})


def test_a_config_that_was_changed_or_removed_is_written_again(
    stored_config: Rolling, memory: MemoryStore
) -> None:
    world = stored_config.world
    stored_config.promote(canary=True)
    right = memory.bucket.contents["models.config"][0]
    memory.bucket._put("models.config", right.replace(b'"canary" value: 2', b'"canary" value: 1'))
    (problem,) = world.status().problems
    assert "does not say what the registry says" in problem
    assert len(reconcile(world.registry, world.url).actions) == 1
    assert memory.bucket.contents["models.config"][0] == right
    del memory.bucket.contents["models.config"]
    reconcile(world.registry, world.url)
    assert stored_config.said() == ((1, 2), {"stable": 1, "canary": 2})
    memory.bucket._put("models.config", b"\xff")
    with pytest.raises(InvalidInputError, match=r"cannot use 's3://models/models\.config'"):
        stored_config.promote()


def test_a_lost_answer_to_a_write_is_no_conflict(
    stored_config: Rolling, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write has arrived, and the client was told that its condition does not hold any more."""
    swap = memory.bucket._swap

    def lost(key: str, data: bytes, tag: str) -> str | None:
        found = swap(key, data, tag)
        return None if key == "models.config" else found

    monkeypatch.setattr(memory.bucket, "_swap", lost)
    (entry,) = config_at(stored_config.config).peek(stored_config.config)
    with config_at(stored_config.config).lock(stored_config.config) as file:
        assert file.put(dataclasses.replace(entry, labels={"stable": 1, "frozen": 1}))
    assert stored_config.said() == ((1,), {"stable": 1, "frozen": 1})
    monkeypatch.undo()


Act = Callable[[], object]


@pytest.mark.parametrize("what", ["canary", "stable", "abort", "rollback"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_rollout_may_die_at_any_request(
    stored_config: Rolling, memory: MemoryStore, what: str
) -> None:
    world, rolling = stored_config.world, stored_config

    def prepare() -> None:
        rolling.promote(canary=True)
        if what in ("canary", "rollback"):
            promote_canary(world.registry, MODEL, world.url, servers=BLIND)
            world.decide(world.register())

    acts: dict[str, Act] = {
        "canary": lambda: rolling.promote(3, canary=True),
        "stable": lambda: promote_canary(
            world.registry, MODEL, world.url, number=2, servers=BLIND
        ),
        "abort": lambda: abort(world.registry, MODEL, world.url),
        "rollback": lambda: rollback(
            world.registry, MODEL, world.url, 1, reason="x", servers=BLIND
        ),
    }  # fmt: skip
    for step in die_at_each_request(world, memory, prepare, acts[what]):
        assert set(world.look().values()) <= {"whole", "loads in vain"}, step
        numbers, labels = rolling.said()
        assert set(labels.values()) <= set(numbers)
        assert {world.look()[n] for n in numbers} == {"whole"}, "what is listed can be loaded"
        done = reconcile(world.registry, world.url)
        assert done.problems == (), step
        rolling.in_order()
