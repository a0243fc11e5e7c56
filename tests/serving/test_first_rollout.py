"""The first rollout by a model config where servers load the latest version until then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import NotServedError, RefusedError
from tfx_registry.operations import label_moves, reconcile, rollout_steps, rollouts, status, trials
from tfx_registry.operations.servers import Servers
from tfx_registry.operations.trials import abort
from tfx_registry.promotion import promote
from tfx_registry.serving.model_config import LatestVersions, SpecificVersions
from tfx_registry.testing.model_server import ModelServerEmulator

MODEL = "penguin"


@pytest.fixture
def latest(place: Any) -> Any:
    """Version 1 serves; a server follows a config that says to load the latest version."""
    promote(place.registry, MODEL, 1, place.base)
    place.config.write_text(
        f'model_config_list {{\n  config {{ name: "{MODEL}" base_path: "{place.base}" '
        'model_platform: "tensorflow" }\n}\n'
    )
    return place


def follow(place: Any) -> ModelServerEmulator:
    server = place.start(allow_version_labels_for_unavailable_models=False)
    assert not promote(place.registry, MODEL, 1, place.base, servers=place.servers).changed
    return server


def says_latest(place: Any) -> bool:
    entry = place.entry()
    return (entry.policy, entry.labels) == (LatestVersions(), {})


def is_as_before(place: Any) -> None:
    assert not (place.base / "2").exists()
    assert place.aliases() == {"production": 1}
    assert place.registry.head(MODEL).rollouts == {}
    assert status(place.registry, place.base).problems == ()
    done = reconcile(place.registry, place.base)
    assert (done.actions, done.problems) == ((), ())


# Nothing loads before it is meant to


def test_servers_are_told_to_stay_before_the_new_version_is_visible(
    latest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = follow(latest)
    publish, load = rollout_steps.RolloutSteps.publish, rollout_steps.RolloutSteps.load

    def watched_publish(steps: Any, *args: Any, **options: Any) -> int:
        assert latest.said() == ((1,), {"stable": 1})
        assert server.labels(MODEL) == {"stable": 1}  # it has read that
        assert not (latest.base / "2").exists()
        return publish(steps, *args, **options)

    def watched_load(steps: Any, *args: Any, **options: Any) -> None:
        assert (latest.base / "2").is_dir()
        assert latest.said() == ((1,), {"stable": 1})
        assert 2 not in server.statuses(MODEL)
        load(steps, *args, **options)

    monkeypatch.setattr(rollout_steps.RolloutSteps, "publish", watched_publish)
    monkeypatch.setattr(rollout_steps.RolloutSteps, "load", watched_load)
    assert latest.promote(2).replaces == 1
    assert latest.said() == ((1, 2), {"stable": 2})
    assert server.labels(MODEL) == {"stable": 2}
    assert server.errors == []
    assert latest.kinds().count("rollout_started") == 1


def test_servers_that_do_not_follow_the_config_load_nothing(place: Any) -> None:
    """They were started with a base path; so they would load whatever appears there."""
    promote(place.registry, MODEL, 1, place.base)
    server = ModelServerEmulator(
        model_name=MODEL, model_base_path=place.base, file_system_poll_wait_seconds=0.01
    ).start()
    place.running.append(server)
    promote(place.registry, MODEL, 1, place.base, servers=place.servers)
    servers = Servers((server.url,), deadline_seconds=0.2, poll_seconds=0.01)
    with pytest.raises(NotServedError, match="model servers do not follow") as refused:
        place.promote(2, servers=servers)
    assert "--model_config_file" in refused.value.todo
    assert place.entry() is None
    is_as_before(place)
    assert list(server.statuses(MODEL)) == [1]


def test_without_servers_the_new_version_waits_for_somebody_to_look(latest: Any) -> None:
    for _ in range(2):
        with pytest.raises(RefusedError, match=r"penguin:2 is not published yet.*--no-wait"):
            latest.promote(2, servers=Servers())
        assert latest.said() == ((1,), {})
        assert not (latest.base / "2").exists()
    assert latest.promote(2, servers=Servers(no_wait=True)).changed
    assert latest.said() == ((1, 2), {"stable": 2})


def test_a_rejection_while_servers_are_told_keeps_it_invisible(
    latest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(latest)
    wait = rollout_steps.wait_until_labelled

    def meanwhile(*args: Any, **options: Any) -> None:
        wait(*args, **options)
        latest.registry.reject(MODEL, 2, reason="leak", actor="bob")

    monkeypatch.setattr(rollout_steps, "wait_until_labelled", meanwhile)
    with pytest.raises(RefusedError, match="bob rejected it"):
        latest.promote(2)
    assert not (latest.base / "2").exists()
    assert reconcile(latest.registry, latest.base).problems == ()
    assert says_latest(latest)
    is_as_before(latest)


# What does not load


def test_what_does_not_load_is_taken_out_of_view(latest: Any) -> None:
    server = follow(latest)
    latest.loader.refused.add("2")
    with pytest.raises(NotServedError, match="no memory"):
        latest.promote(2)
    assert says_latest(latest)
    is_as_before(latest)
    assert server.resolve(MODEL)[0] == 1
    latest.loader.refused.clear()
    assert latest.promote(2).changed


def test_the_very_first_version_that_does_not_load_is_taken_out_of_view(place: Any) -> None:
    place.config.touch()
    place.start()
    place.loader.refused.add("1")
    with pytest.raises(NotServedError, match="no memory"):
        place.promote(1)
    assert not (place.base / "1").exists()
    assert place.entry() is None
    place.loader.refused.clear()
    assert place.promote(1).changed


# Promoters that die while they undo


class Killed(BaseException):
    """Like SIGKILL: nothing that was to follow happens."""


def dying(*_: object, **__: object) -> None:
    raise Killed


def undo_by_itself(place: Any, patch: pytest.MonkeyPatch, step: str) -> None:
    """A server cannot load it."""
    follow(place)
    place.loader.refused.add("2")
    if step == "file":
        patch.setattr(rollout_steps, "put_back", dying)
    elif step == "away":
        patch.setattr(rollout_steps, "put_begun_away", dying)
    with pytest.raises(Killed):
        place.promote(2)
    for server in place.running:
        server.close()


def left_listed(place: Any) -> None:
    """A promoter died after the file lists its version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelRegistry, "record_config_promotion", dying)
        with pytest.raises(Killed):
            place.promote(2, servers=Servers(no_wait=True))
    assert place.said() == ((1, 2), {})


def undo_by_abort(place: Any, patch: pytest.MonkeyPatch, step: str) -> None:
    left_listed(place)
    if step == "file":
        patch.setattr(label_moves, "write_entry", dying)
    elif step == "away":
        patch.setattr(trials, "put_begun_away", dying)
    with pytest.raises(Killed):
        abort(place.registry, MODEL, place.base)


def undo_by_reconcile(place: Any, patch: pytest.MonkeyPatch, step: str) -> None:
    left_listed(place)
    name = {"file": "write_entry", "away": "put_begun_away"}[step]
    patch.setattr(rollouts, name, dying)
    with pytest.raises(Killed):
        reconcile(place.registry, place.base)


@pytest.mark.parametrize("finish", ["reconcile", "promote", "same", "by config"])
@pytest.mark.parametrize("step", ["away", "file"])
@pytest.mark.parametrize("undo", [undo_by_itself, undo_by_abort, undo_by_reconcile])
def test_whoever_comes_next_finishes_it(
    latest: Any,
    undo: Callable[[Any, pytest.MonkeyPatch, str], None],
    step: str,
    finish: str,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        undo(latest, patch, step)
    assert latest.kinds()[-1] == "rollout_dropped"
    assert isinstance(latest.entry().policy, SpecificVersions)
    assert (latest.base / "2").exists() == (step == "away")
    problems = status(latest.registry, latest.base).problems
    assert any("still says what an undone rollout has written" in p for p in problems)
    if finish == "reconcile":
        done = reconcile(latest.registry, latest.base)
        assert done.problems == ()
        assert any("finished undoing a rollout of version 2" in line for line in done.actions)
        is_as_before(latest)
    elif finish in ("promote", "same"):
        number = 3 if finish == "promote" else 2
        promote(latest.registry, MODEL, number, latest.base)
        assert (latest.base / "2").exists() == (number == 2)
        assert status(latest.registry, latest.base).problems == ()
    else:
        for _ in range(2):  # a label that servers may know moves with the second command only
            with contextlib.suppress(RefusedError):
                latest.promote(2, servers=Servers(no_wait=True))
        assert latest.said() == ((1, 2), {"stable": 2})
        assert status(latest.registry, latest.base).problems == ()
        return
    assert says_latest(latest)


def test_a_file_that_cannot_be_used_stops_no_promotion_that_needs_none(latest: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        undo_by_abort(latest, patch, "file")
    latest.config.write_text("model_config_list {")
    problems = status(latest.registry, latest.base).problems
    assert any("line 1" in problem for problem in problems)
    assert any("line 1" in p for p in reconcile(latest.registry, latest.base).problems)
    assert promote(latest.registry, MODEL, 3, latest.base).changed
    assert status(latest.registry, latest.base).problems == ()
