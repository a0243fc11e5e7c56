"""Going back by a model config, also while something else is under way."""

from __future__ import annotations

import dataclasses
import datetime
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tfx_registry.errors import ConflictError, RefusedError
from tfx_registry.operations import rollout_steps
from tfx_registry.operations.rollouts import Rollout, roll_back_by_config, settle
from tfx_registry.operations.servers import Servers
from tfx_registry.serving.model_config import READ_MARK, SpecificVersions
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.testing.model_server import ModelServerEmulator

MODEL = "penguin"


def allow(place: Any, *numbers: int) -> None:
    for number in numbers:
        place.registry.override(MODEL, number, reason="again", expires=datetime.timedelta(1))


def test_going_back_to_a_version_that_is_still_loaded(serving: Any) -> None:
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


def test_going_back_without_servers_asks_for_a_version_that_was_listed(serving: Any) -> None:
    serving.promote(2, keep_loaded=0)
    assert serving.said()[0] == (2,)
    with pytest.raises(RefusedError, match="--no-wait"):
        roll_back_by_config(serving.registry, MODEL, serving.base, reason="wrong")
    assert serving.said() == ((1, 2), {"stable": 2})
    roll_back_by_config(
        serving.registry, MODEL, serving.base, reason="wrong", servers=Servers(no_wait=True)
    )
    assert serving.said() == ((1,), {"stable": 1})


def test_going_back_leaves_a_trial_alone(serving: Any) -> None:
    serving.promote(2)
    serving.promote(3, canary=True)
    roll_back_by_config(
        serving.registry, MODEL, serving.base, reason="wrong", servers=serving.servers
    )
    assert serving.said() == ((1, 3), {"stable": 1, "canary": 3})


@pytest.mark.parametrize("canary", [True, False])
def test_a_rollback_wins_over_a_rollout_that_waits(
    serving: Any, monkeypatch: pytest.MonkeyPatch, canary: bool
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


def _while_waiting(place: Any, patch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
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
    serving: Any, monkeypatch: pytest.MonkeyPatch, to: int | None
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
    serving: Any, monkeypatch: pytest.MonkeyPatch
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


def _wait_until_unloaded(server: ModelServerEmulator, number: int) -> None:
    deadline = time.monotonic() + 60
    while server.statuses(MODEL)[number].state == "AVAILABLE":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_label_does_not_move_to_what_was_taken_out_meanwhile(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers would refuse a file that lists a version and labels it at once."""
    serving.promote(2, keep_loaded=0)

    def meanwhile() -> None:
        assert settle(serving.registry, MODEL, serving.base)
        assert serving.said() == ((2,), {"stable": 2})
        for server in serving.running:
            _wait_until_unloaded(server, 1)

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


class Stalled:
    """Servers that have read that 1 is taken out, and have not unloaded it yet.

    They go on after some more writes of the file: they unload it, and only then read what it says.
    """

    def __init__(self, place: Any, patch: pytest.MonkeyPatch, *, writes: int) -> None:
        self.place = place
        self.left = writes
        self.polls = [(server, server._poll_config) for server in place.running]
        for server in place.running:
            self.replace(server, "_poll_file_system")
        entry = place.entry()
        with ModelConfigFile.lock(place.config) as file:
            file.put(dataclasses.replace(entry, policy=SpecificVersions((2,))))
        for server in place.running:
            self.wait(lambda server=server: server._watched[0].versions == (2,))
            self.replace(server, "_poll_config")
        swap = ModelConfigFile._swap

        def watched(file: ModelConfigFile, new: bytes, seen: bytes | None, name: str) -> bool:
            done = swap(file, new, seen, name)
            self.left -= 1
            if self.left == 0:
                self.go_on()
            return done

        patch.setattr(ModelConfigFile, "_swap", watched)

    def replace(self, server: Any, poll: str) -> None:
        """Lets a server do nothing where it polls; returns once it has come there."""
        there = threading.Event()
        setattr(server, poll, there.set)
        assert there.wait(60)

    def wait(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not reached():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def go_on(self) -> None:
        for server, poll_config in self.polls:
            assert server.statuses(MODEL)[1].state == "AVAILABLE"
            del server._poll_file_system
            _wait_until_unloaded(server, 1)
            server._poll_config = poll_config


@pytest.mark.parametrize("begun", [True, False])
def test_a_label_does_not_move_to_what_servers_are_about_to_unload(
    serving: Any, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """They would refuse the file for ever: what they were told last does not list the version."""
    serving.promote(2)
    assert serving.said() == ((1, 2), {"stable": 2})
    if begun:  # in the last moment before the label moves
        _while_waiting(serving, monkeypatch, lambda: Stalled(serving, monkeypatch, writes=1))
    else:  # such as by an abort, or a promotion that keeps less
        Stalled(serving, monkeypatch, writes=2)
    servers = dataclasses.replace(serving.servers, deadline_seconds=20)
    roll_back_by_config(serving.registry, MODEL, serving.base, reason="wrong", servers=servers)
    assert serving.said() == ((1,), {"stable": 1})
    for server in serving.running:
        assert server.labels(MODEL) == {"stable": 1}
        assert server.resolve(MODEL, label="stable")[0] == 1


def test_what_a_promoter_that_died_has_asked_servers_by_goes_with_the_next_write(
    serving: Any,
) -> None:
    serving.promote(2)
    entry = serving.entry()
    with ModelConfigFile.lock(serving.config) as file:
        file.put(dataclasses.replace(entry, labels={**entry.labels, f"{READ_MARK}0": 2, "mine": 1}))
    assert settle(serving.registry, MODEL, serving.base)
    assert serving.said() == ((1, 2), {"stable": 2, "mine": 1})


def test_a_file_from_a_backup_gets_its_labels_in_two_steps(serving: Any) -> None:
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


def test_a_label_that_was_moved_by_hand_is_recorded_afterwards(serving: Any) -> None:
    """What docs/serving.md says to do while the registry cannot be reached."""
    serving.promote(2)
    text = serving.config.read_text(encoding="utf-8")
    edited = text.replace('key: "stable" value: 2', 'key: "stable" value: 1')
    assert edited != text
    serving.config.write_text(edited, encoding="utf-8")
    for server in serving.running:
        server.poll_once()
        assert server.resolve(MODEL, label="stable")[0] == 1
    done = roll_back_by_config(
        serving.registry, MODEL, serving.base, reason="wrong", servers=serving.servers
    )
    assert (done.version.number, done.replaces) == (1, 2)
    assert serving.said() == ((1,), {"stable": 1})
    assert serving.aliases() == {"production": 1}
