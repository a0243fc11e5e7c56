"""Promotions by a model config, versions on trial, and going back, against emulated servers."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    NotServedError,
    RefusedError,
)
from tfx_registry.operations import (
    Retention,
    prune,
    reconcile,
    rollback,
    rollout_steps,
    status,
)
from tfx_registry.operations.rollouts import (
    Rollout,
    promote_by_config,
    roll_back_by_config,
    settle,
)
from tfx_registry.operations.servers import Servers
from tfx_registry.operations.trials import abort, promote_canary
from tfx_registry.promotion import promote
from tfx_registry.registry import fold
from tfx_registry.registry.events import ServersChecked
from tfx_registry.serving.model_config import LatestVersions, ServedModel, SpecificVersions
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


def allow(place: Place, *numbers: int) -> None:
    for number in numbers:
        place.registry.override(MODEL, number, reason="again", expires=datetime.timedelta(1))


@pytest.fixture
def serving(place: Place) -> Place:
    """Version 1 serves in two servers, which know its label."""
    place.promote(1, servers=Servers(no_wait=True))
    place.start()
    place.start()
    assert not place.promote(1).changed
    return place


# The way up


def test_a_first_promotion(place: Place) -> None:
    done = place.promote(1, servers=Servers(no_wait=True))
    assert (done.label, done.replaces, done.changed) == ("stable", None, True)
    assert place.said() == ((1,), {"stable": 1})
    entry = place.entry()
    assert entry is not None
    assert entry.base_path == str(place.base)
    assert place.aliases() == {"production": 1}
    server = place.start()
    assert not place.promote(1).changed
    assert server.labels(MODEL) == {"stable": 1}
    assert place.kinds(8) == ["rollout_started", "promoted"]


def test_servers_that_began_with_an_empty_file(place: Place) -> None:
    """And without the flag for new labels: they are set once the version is loaded."""
    place.config.touch()
    server = place.start(allow_version_labels_for_unavailable_models=False)
    assert place.promote(1).changed
    assert server.labels(MODEL) == {"stable": 1}
    assert place.promote(2, canary=True).changed
    assert server.errors == []


def test_a_canary_beside_what_serves_then_stable(serving: Place) -> None:
    done = serving.promote(2, canary=True, reason="try it")
    assert (done.label, done.replaces, done.changed) == ("canary", None, True)
    assert serving.said() == ((1, 2), {"stable": 1, "canary": 2})
    assert serving.aliases() == {"canary": 2, "production": 1}
    for server in serving.running:
        assert server.resolve(MODEL, label="stable")[0] == 1
        assert server.resolve(MODEL, label="canary")[0] == 2
    trial = serving.registry.canary(MODEL, str(serving.base))
    assert trial is not None
    assert trial.number == 2
    assert not serving.promote(2, canary=True).changed

    done = promote_canary(serving.registry, MODEL, serving.base, servers=serving.servers)
    assert (done.label, done.replaces) == ("stable", 1)
    assert serving.said() == ((1, 2), {"stable": 2})  # 1 stays loaded for a rollback
    assert serving.aliases() == {"production": 2}
    assert serving.registry.canary(MODEL, str(serving.base)) is None
    for server in serving.running:
        assert server.labels(MODEL) == {"stable": 2}
    again = promote_canary(serving.registry, MODEL, serving.base, number=2)
    assert not again.changed


def test_servers_load_a_version_before_any_label_moves(serving: Place) -> None:
    seen = []

    class Watching(Refusing):
        def load(self, path: str) -> Loaded:
            seen.append((Path(path).name, dict(serving.said()[1])))
            return super().load(path)

    for server in serving.running:
        server._manager._loader = Watching()
    serving.promote(2)
    assert seen == [("2", {"stable": 1})] * 2
    assert serving.said() == ((1, 2), {"stable": 2})
    serving.promote(3)
    assert serving.said() == ((2, 3), {"stable": 3})
    assert seen[2:] == [("3", {"stable": 2})] * 2
    for server in serving.running:
        assert not [error for error in server.errors if "label" in error]


def test_what_servers_said_is_recorded(serving: Place) -> None:
    serving.promote(2, canary=True)
    (checked,) = [
        event.payload
        for event in serving.registry.history(MODEL)
        if isinstance(event.payload, ServersChecked)
    ]
    assert checked.available
    assert checked.number == 2
    assert len(checked.servers) == 2
    assert all(text.endswith("AVAILABLE") for text in checked.servers)


def test_a_lower_number_can_be_promoted(serving: Place) -> None:
    serving.promote(3)
    serving.promote(2)
    assert serving.said() == ((2, 3), {"stable": 2})


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_how_many_stay_loaded(serving: Place, keep: int) -> None:
    serving.promote(2, keep_loaded=keep)
    serving.promote(3)
    assert serving.said()[0] == (1, 2, 3)[2 - keep :]


def test_a_trial_is_part_of_what_served(serving: Place) -> None:
    serving.promote(2, canary=True, reason="try it")
    now = "9999-01-01"
    (trial,) = serving.registry.served(MODEL, now, alias="canary")
    assert (trial.version.number, trial.reason) == (2, "try it")
    both = serving.registry.served(MODEL, now, destination=str(serving.base))
    assert [served.version.number for served in both] == [2, 1]


# Trials that end otherwise


def test_an_aborted_trial(serving: Place) -> None:
    serving.promote(2, canary=True)
    done = abort(serving.registry, MODEL, serving.base, servers=serving.servers, reason="too slow")
    assert (done.version.number, done.label) == (2, "")
    assert serving.said() == ((1,), {"stable": 1})
    assert serving.aliases() == {"production": 1}
    assert serving.running[0].labels(MODEL) == {"stable": 1}
    with pytest.raises(NotFoundError, match="no version of 'penguin' is on trial"):
        abort(serving.registry, MODEL, serving.base)
    assert serving.registry.history(MODEL)[-1].reason == "too slow"


def test_one_trial_at_a_time(serving: Place) -> None:
    serving.promote(2, canary=True)
    with pytest.raises(RefusedError, match="version 2 is on trial"):
        serving.promote(3, canary=True)
    with pytest.raises(RefusedError, match=r"abort penguin"):
        serving.promote(3)
    with pytest.raises(NotFoundError, match="version 2 is"):
        promote_canary(serving.registry, MODEL, serving.base, number=3)
    assert serving.said() == ((1, 2), {"stable": 1, "canary": 2})


def test_the_alias_of_a_trial_is_not_moved_by_hand(serving: Place) -> None:
    serving.promote(2, canary=True)
    with pytest.raises(RefusedError, match="on trial"):
        serving.registry.set_alias(MODEL, "canary", 3)
    with pytest.raises(RefusedError, match="on trial"):
        serving.registry.remove_alias(MODEL, "canary")
    with pytest.raises(RefusedError, match="'canary' points at it"):
        serving.registry.archive(MODEL, 2, reason="old")


def test_a_trial_needs_something_beside_it(place: Place) -> None:
    with pytest.raises(RefusedError, match="nothing serves there"):
        place.promote(1, canary=True)
    promote(place.registry, MODEL, 1, place.base)
    with pytest.raises(RefusedError, match="its servers load the latest version"):
        place.promote(2, canary=True)
    assert not place.config.exists()
    place.promote(1, servers=Servers(no_wait=True))
    with pytest.raises(RefusedError, match="it serves there"):
        place.promote(1, canary=True)


def test_a_trial_needs_the_gate(serving: Place) -> None:
    path = write_minimal_model(serving.folder / "models" / "5", "note 5")
    serving.registry.register(MODEL, path)
    with pytest.raises(RefusedError, match="no gate decision"):
        serving.promote(5, canary=True)
    assert serving.said() == ((1,), {"stable": 1})
    assert not (serving.base / "5").exists()


# Versions that servers cannot load


@pytest.mark.parametrize("canary", [True, False])
def test_a_version_that_does_not_load_is_taken_out_again(serving: Place, canary: bool) -> None:
    serving.loader.refused.add("2")
    with pytest.raises(NotServedError, match="RESOURCE_EXHAUSTED: no memory"):
        serving.promote(2, canary=canary)
    assert serving.said() == ((1,), {"stable": 1})
    assert serving.aliases() == {"production": 1}
    head = serving.registry.head(MODEL)
    assert head.rollouts == {}
    assert serving.kinds()[-3:] == ["rollout_started", "servers_checked", "rollout_dropped"]
    # And once the servers can, the same command works, though they remember the failure.
    serving.loader.refused.clear()
    serving.promote(2, canary=canary)
    assert serving.said()[1] == ({"stable": 1, "canary": 2} if canary else {"stable": 2})


def test_a_version_that_does_not_load_may_stay_listed(serving: Place) -> None:
    serving.loader.refused.add("2")
    servers = dataclasses.replace(serving.servers, keep_failed=True)
    with pytest.raises(NotServedError):
        serving.promote(2, servers=servers)
    assert serving.said() == ((1, 2), {"stable": 1})
    assert str(serving.base) in serving.registry.head(MODEL).rollouts
    abort(serving.registry, MODEL, serving.base, servers=serving.servers)
    assert serving.said() == ((1,), {"stable": 1})


def test_a_first_rollout_that_fails_leaves_the_file_as_it_was(place: Place) -> None:
    text = f'model_config_list {{\n  config {{ name: "iris" base_path: "{place.folder}" }}\n}}\n'
    place.config.write_text(text)
    dead = Servers(("http://127.0.0.1:9",), deadline_seconds=0.01, poll_seconds=0.01)
    with pytest.raises(NotServedError, match="no answer"):
        place.promote(1, servers=dead)
    assert place.config.read_text() == text
    assert place.aliases() == {}


# Without asking servers


def test_without_servers_a_label_moves_only_once_somebody_has_looked(serving: Place) -> None:
    for _ in range(2):
        with pytest.raises(RefusedError, match=r"versions/2 of every server.*--no-wait"):
            serving.promote(2, servers=Servers())
        assert serving.said() == ((1, 2), {"stable": 1})
    assert serving.aliases() == {"production": 1}
    serving.promote(2, servers=Servers(no_wait=True))
    assert serving.said() == ((1, 2), {"stable": 2})


def test_no_wait_does_not_move_a_label_to_what_was_not_listed(serving: Place) -> None:
    with pytest.raises(RefusedError, match="--no-wait"):
        serving.promote(2, servers=Servers(no_wait=True))
    assert serving.said() == ((1, 2), {"stable": 1})
    # A label that is new can be given at once, if servers run with the flag for that.
    abort(serving.registry, MODEL, serving.base)
    serving.promote(2, canary=True, servers=Servers(no_wait=True))
    assert serving.said() == ((1, 2), {"stable": 1, "canary": 2})


# Going back


def test_going_back_to_a_version_that_is_still_loaded(serving: Place) -> None:
    serving.promote(2)
    done = roll_back_by_config(
        serving.registry, MODEL, serving.base, reason="wrong", servers=serving.servers
    )
    assert (done.version.number, done.replaces, done.label) == (1, 2, "stable")
    assert serving.said() == ((1,), {"stable": 1})
    assert serving.aliases() == {"production": 1}
    for server in serving.running:
        assert server.resolve(MODEL, label="stable")[0] == 1
    assert (serving.base / "2").is_dir()
    allow(serving, 2)
    serving.promote(2)
    assert serving.said() == ((1, 2), {"stable": 2})


def test_going_back_without_servers_asks_for_a_version_that_was_listed(serving: Place) -> None:
    serving.promote(2, keep_loaded=0)
    assert serving.said()[0] == (2,)
    with pytest.raises(RefusedError, match="--no-wait"):
        roll_back_by_config(serving.registry, MODEL, serving.base, reason="wrong")
    assert serving.said() == ((1, 2), {"stable": 2})
    roll_back_by_config(
        serving.registry, MODEL, serving.base, reason="wrong", servers=Servers(no_wait=True)
    )
    assert serving.said() == ((1,), {"stable": 1})


def test_going_back_leaves_a_trial_alone(serving: Place) -> None:
    serving.promote(2)
    serving.promote(3, canary=True)
    roll_back_by_config(
        serving.registry, MODEL, serving.base, reason="wrong", servers=serving.servers
    )
    assert serving.said() == ((1, 3), {"stable": 1, "canary": 3})


@pytest.mark.parametrize("canary", [True, False])
def test_a_rollback_wins_over_a_rollout_that_waits(
    serving: Place, monkeypatch: pytest.MonkeyPatch, canary: bool
) -> None:
    serving.promote(2)

    def meanwhile(*_: object) -> None:
        roll_back_by_config(serving.registry, MODEL, serving.base, reason="at night")

    with monkeypatch.context() as patch:
        patch.setattr("tfx_registry.operations.rollout_steps.check_servers", meanwhile)
        with pytest.raises(ConflictError, match="since it was begun: a rollback"):
            serving.promote(3, canary=canary)
    assert serving.said() == ((1,), {"stable": 1})
    assert serving.aliases() == {"production": 1}
    assert serving.registry.head(MODEL).rollouts == {}


def _while_waiting(
    place: Place, patch: pytest.MonkeyPatch, meanwhile: Callable[[], object]
) -> None:
    """Does something once, after servers have loaded what the next command waits for."""
    original = rollout_steps.check_servers
    left = [meanwhile]

    def check(*args: Any) -> None:
        original(*args)
        if left:
            left.pop()()

    patch.setattr(rollout_steps, "check_servers", check)


@pytest.mark.parametrize("to", [None, 1])
def test_a_rollback_that_waits_undoes_no_promotion(
    serving: Place, monkeypatch: pytest.MonkeyPatch, to: int | None
) -> None:
    serving.promote(2, keep_loaded=0)
    _while_waiting(serving, monkeypatch, lambda: serving.promote(3, keep_loaded=0))
    with pytest.raises(ConflictError, match="version 3 has come to serve there"):
        roll_back_by_config(
            serving.registry, MODEL, serving.base, to, reason="wrong", servers=serving.servers
        )
    assert serving.aliases() == {"production": 3}
    assert serving.said() == ((3,), {"stable": 3})
    assert "rolled_back" not in serving.kinds()


def test_two_rollbacks_to_one_version_at_once(
    serving: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.promote(2)

    def back() -> Rollout:
        return roll_back_by_config(
            serving.registry, MODEL, serving.base, reason="wrong", servers=serving.servers
        )

    _while_waiting(serving, monkeypatch, back)
    assert back().version.number == 1
    assert serving.kinds().count("rolled_back") == 1
    assert serving.said() == ((1,), {"stable": 1})


def test_a_label_does_not_move_to_what_was_taken_out_meanwhile(
    serving: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers would refuse a file that lists a version and labels it at once."""
    serving.promote(2, keep_loaded=0)

    def meanwhile() -> None:
        assert settle(serving.registry, MODEL, serving.base)
        assert serving.said() == ((2,), {"stable": 2})

    _while_waiting(serving, monkeypatch, meanwhile)
    written = []
    swap = ModelConfigFile._swap

    def watched(file: ModelConfigFile, new: bytes, seen: bytes | None, name: str) -> bool:
        done = swap(file, new, seen, name)
        written.append(serving.said())
        return done

    monkeypatch.setattr(ModelConfigFile, "_swap", watched)
    roll_back_by_config(
        serving.registry, MODEL, serving.base, reason="wrong", servers=serving.servers
    )
    assert written == [
        ((1, 2), {"stable": 2}),
        ((2,), {"stable": 2}),
        ((1, 2), {"stable": 2}),
        ((1,), {"stable": 1}),
    ]
    for server in serving.running:
        assert server.resolve(MODEL, label="stable")[0] == 1


def test_a_file_from_a_backup_gets_its_labels_in_two_steps(serving: Place) -> None:
    old = serving.config.read_text()
    serving.promote(2)
    serving.config.write_text(old)
    assert len(settle(serving.registry, MODEL, serving.base)) == 2
    assert serving.said() == ((1, 2), {"stable": 1})
    assert len(settle(serving.registry, MODEL, serving.base)) == 1
    assert serving.said() == ((1, 2), {"stable": 2})
    serving.config.write_text(old)
    with pytest.raises(RefusedError, match=r"versions/2 of every server.*reconcile"):
        serving.promote(2, servers=Servers(no_wait=True))
    assert serving.said() == ((1, 2), {"stable": 1})


# The file


def test_other_models_and_other_labels_are_kept(place: Place) -> None:
    (place.folder / "iris").mkdir()
    write_minimal_model(place.folder / "iris" / "7")
    place.config.write_text(
        "# by hand\nmodel_config_list {\n"
        f'  config {{ name: "iris" base_path: "{place.folder}/iris"\n'
        '    model_platform: "tensorflow" }\n'
        f'  config {{\n    name: "birds"  # the name that clients know\n'
        f'    base_path: "{place.base}/"\n    model_platform: "tensorflow"\n  }}\n}}\n'
    )
    place.promote(1, servers=Servers(no_wait=True))
    with ModelConfigFile.lock(place.config) as file:
        entry = file.find("birds")
        assert entry is not None
        file.put(dataclasses.replace(entry, labels={**entry.labels, "pinned": 1}))
    server = place.start()
    for number in (2, 3):
        place.promote(number)
    entry = place.entry("birds")
    assert entry is not None
    assert entry.labels == {"stable": 3, "pinned": 1}
    assert entry.policy == SpecificVersions((1, 2, 3))
    assert server.resolve("birds", label="stable")[0] == 3
    assert server.resolve("iris")[0] == 7
    text = place.config.read_text()
    assert text.startswith("# by hand\n")
    assert "# the name that clients know" in text
    assert place.entry() is None


def test_an_entry_for_another_directory_is_refused(place: Place) -> None:
    place.config.write_text(
        'model_config_list { config { name: "penguin" base_path: "/models/penguin" '
        'model_platform: "tensorflow" } }'
    )
    with pytest.raises(RefusedError, match=r"--server-base-path /models/penguin"):
        place.promote(1)
    assert not place.base.exists()
    place.promote(1, server_base_path="/models/penguin", servers=Servers(no_wait=True))
    assert place.said() == ((1,), {"stable": 1})
    place.promote(1, servers=Servers(no_wait=True))  # known from the last time
    with pytest.raises(RefusedError):
        place.promote(1, server_base_path="/other")


def test_what_cannot_be_a_target(place: Place) -> None:
    with pytest.raises(InvalidInputError, match="--model-config FILE"):
        promote_by_config(place.registry, MODEL, 1, place.base)
    with pytest.raises(InvalidInputError, match="absolute paths only"):
        place.promote(1, server_base_path="models/penguin")
    place.config.write_text("model_config_list {")
    with pytest.raises(InvalidInputError, match="line 1"):
        place.promote(1)
    place.config.write_text(
        f'model_config_list {{ config {{ name: "penguin" base_path: "{place.base}" '
        'model_platform: "other" } }'
    )
    with pytest.raises(RefusedError, match="platform"):
        place.promote(1)
    assert place.kinds(8) == []


def test_the_file_of_the_last_time_is_used(serving: Place) -> None:
    done = promote_by_config(serving.registry, MODEL, 2, serving.base, servers=serving.servers)
    assert done.config.path == str(serving.config)


def test_a_file_that_was_lost_or_changed_by_hand_is_written_again(serving: Place) -> None:
    serving.promote(2, canary=True)
    right = serving.config.read_text()
    serving.config.unlink()
    assert settle(serving.registry, MODEL, serving.base)
    assert serving.said() == ((1, 2), {"stable": 1, "canary": 2})
    serving.config.write_text(right.replace('"stable" value: 1', '"stable" value: 2'))
    assert settle(serving.registry, MODEL, serving.base)
    assert serving.config.read_text() == right
    assert not settle(serving.registry, MODEL, serving.base)


def test_a_promotion_to_the_latest_is_refused_where_a_config_decides(serving: Place) -> None:
    with pytest.raises(RefusedError, match=r"--model-config"):
        promote(serving.registry, MODEL, 2, serving.base)
    assert not (serving.base / "2").exists()


def test_from_latest_to_a_config(place: Place) -> None:
    """The server goes on with what it serves while it is started anew with the config."""
    promote(place.registry, MODEL, 1, place.base)
    promote(place.registry, MODEL, 2, place.base)
    place.promote(2, servers=Servers(no_wait=True))
    assert place.said() == ((1, 2), {"stable": 2})
    place.start()
    assert not place.promote(2).changed
    place.promote(3, canary=True)
    assert place.said() == ((1, 2, 3), {"stable": 2, "canary": 3})


def _entry_of_the_latest(place: Place) -> str:
    return (
        f'model_config_list {{\n  config {{ name: "{MODEL}" base_path: "{place.base}" '
        'model_platform: "tensorflow" }\n}\n'
    )


@pytest.mark.parametrize("undo", [abort, reconcile])
@pytest.mark.parametrize("listed", [True, False])
def test_back_to_latest_after_a_first_rollout_that_came_to_nothing(
    place: Place, undo: Callable[..., object], listed: bool
) -> None:
    promote(place.registry, MODEL, 1, place.base)
    promote(place.registry, MODEL, 2, place.base)
    if listed:
        place.config.write_text(_entry_of_the_latest(place))
    with pytest.raises(RefusedError, match="--wait-for"):
        place.promote(3, servers=Servers())
    assert place.said() == ((1, 2, 3), {})
    with pytest.raises(RefusedError, match=r"rollout of version 3 by .* is not finished there"):
        promote(place.registry, MODEL, 4, place.base)
    if undo is abort:
        abort(place.registry, MODEL, place.base)
    else:
        assert reconcile(place.registry, place.base).problems == ()
    assert place.registry.head(MODEL).rollouts == {}
    assert not (place.base / "3").exists()  # a server would load it
    entry = place.entry()
    assert entry is not None
    assert (entry.policy, entry.labels) == (LatestVersions(), {})
    server = place.start()
    assert not promote(place.registry, MODEL, 2, place.base, servers=place.servers).changed
    assert server.resolve(MODEL)[0] == 2
    promote(place.registry, MODEL, 4, place.base, servers=place.servers)
    assert server.resolve(MODEL)[0] == 4
    assert reconcile(place.registry, place.base).actions == ()


def test_a_rollout_that_died_before_the_file_adds_no_entry(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(place.registry, MODEL, 1, place.base)

    def dying(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(rollout_steps, "write_entry", dying)
        with pytest.raises(Killed):
            place.promote(2, servers=Servers())
    assert reconcile(place.registry, place.base).problems == ()
    assert not place.config.exists() or place.entry() is None
    assert not (place.base / "2").exists()
    place.promote(2, servers=Servers(no_wait=True))
    assert place.said() == ((1, 2), {"stable": 2})


# The operator's commands


def test_rollback_moves_the_label_and_puts_nothing_away(serving: Place) -> None:
    serving.promote(2)
    done = rollback(serving.registry, MODEL, serving.base, reason="wrong")
    assert (done.version.number, done.replaces, done.withdrawn) == (1, 2, ())
    assert serving.said() == ((1,), {"stable": 1})
    assert (serving.base / "2").is_dir()


def test_reconcile_undoes_what_was_begun_and_writes_the_file_again(serving: Place) -> None:
    with pytest.raises(RefusedError):
        serving.promote(2, servers=Servers())
    (problem,) = status(serving.registry, serving.base).problems
    assert "not finished" in problem  # and the file says what the log says, so far
    done = reconcile(serving.registry, serving.base)
    assert done.problems == ()
    assert len(done.actions) == 2
    assert serving.said() == ((1,), {"stable": 1})
    assert status(serving.registry, serving.base).problems == ()
    serving.config.write_text("")
    assert any("does not say" in p for p in status(serving.registry, serving.base).problems)
    assert len(reconcile(serving.registry, serving.base).actions) == 1
    assert serving.said() == ((1,), {"stable": 1})
    assert reconcile(serving.registry, serving.base).actions == ()
    serving.config.write_text("model_config_list {")
    assert any("line 1" in p for p in status(serving.registry, serving.base).problems)


def test_retention_keeps_what_the_config_lists(serving: Place) -> None:
    for number in (2, 3, 4):
        serving.promote(number, canary=number == 4)
    done = prune(serving.registry, MODEL, serving.base, Retention(1), dry_run=False)
    assert [removal.number for removal in done.removed] == [1]
    assert [kept.number for kept in done.kept] == [2, 3, 4]
    assert serving.said() == ((2, 3, 4), {"stable": 3, "canary": 4})


# Whatever happens in between


Interrupt = Callable[[Place, pytest.MonkeyPatch], None]


class Killed(BaseException):
    """Like SIGKILL: nothing that was to follow happens."""


@pytest.mark.parametrize("canary", [True, False])
@pytest.mark.parametrize(
    ("what", "calls"),
    [("record_rollout", 0), ("record_rollout", 1), ("write_entry", 0), ("write_entry", 1),
     ("check_servers", 1), ("record", 0), ("record", 1), ("finish", 0), ("finish", 1)],
)  # fmt: skip
def test_interrupted_then_repeated_and_interrupted_then_aborted(
    serving: Place, monkeypatch: pytest.MonkeyPatch, what: str, calls: int, canary: bool
) -> None:
    def dying(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def wrapper(*args: Any, **options: Any) -> Any:
            if calls:
                original(*args, **options)
            raise Killed

        monkeypatch.setattr(owner, name, wrapper)

    record = "record_canary" if canary else "record_config_promotion"
    places = {
        "record_rollout": (ModelRegistry, "record_rollout"),
        "record": (ModelRegistry, record),
        "finish": (rollout_steps.RolloutSteps, "finish"),
    }
    with monkeypatch.context() as monkeypatch:
        dying(*places.get(what, (rollout_steps, what)))
        with pytest.raises(Killed):
            serving.promote(2, canary=canary)
    recorded = (what, calls) in {("record", 1), ("finish", 0), ("finish", 1)}
    expected = {"production": 1, "canary": 2} if canary else {"production": 2}
    assert serving.aliases() == (expected if recorded else {"production": 1})
    # The file says what the log says, or is behind it; a server has heard nothing else.
    assert serving.said()[1] in ({"stable": 1}, {"stable": 1, "canary": 2}, {"stable": 2})
    if not recorded:
        assert serving.said()[1] == {"stable": 1}
        # Whoever comes next may undo it ...
        if str(serving.base) in serving.registry.head(MODEL).rollouts:
            abort(serving.registry, MODEL, serving.base, servers=serving.servers)
        settle(serving.registry, MODEL, serving.base)
        assert serving.said() == ((1,), {"stable": 1})
    # ... and whoever repeats it finishes it.
    serving.promote(2, canary=canary)
    assert serving.aliases() == expected
    assert serving.said() == ((1, 2), {"stable": 1, "canary": 2} if canary else {"stable": 2})
    for server in serving.running:
        assert server.resolve(MODEL, label="canary" if canary else "stable")[0] == 2
