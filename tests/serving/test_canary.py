"""Promotions by a model config, and versions on trial, against emulated servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfx_registry.errors import NotFoundError, RefusedError
from tfx_registry.operations.servers import Servers
from tfx_registry.operations.trials import abort, promote_canary
from tfx_registry.promotion import promote
from tfx_registry.registry.events import ServersChecked
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server.loaders import Loaded

MODEL = "penguin"


def test_a_first_promotion(place: Any) -> None:
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


def test_servers_that_began_with_an_empty_file(place: Any) -> None:
    """And without the flag for new labels: they are set once the version is loaded."""
    place.config.touch()
    server = place.start(allow_version_labels_for_unavailable_models=False)
    assert place.promote(1).changed
    assert server.labels(MODEL) == {"stable": 1}
    assert place.promote(2, canary=True).changed
    assert server.errors == []


def test_a_canary_beside_what_serves_then_stable(serving: Any) -> None:
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


def test_servers_load_a_version_before_any_label_moves(serving: Any) -> None:
    seen = []

    class Watching(type(serving.loader)):
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


def test_what_servers_said_is_recorded(serving: Any) -> None:
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


def test_a_lower_number_can_be_promoted(serving: Any) -> None:
    serving.promote(3)
    serving.promote(2)
    assert serving.said() == ((2, 3), {"stable": 2})


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_how_many_stay_loaded(serving: Any, keep: int) -> None:
    serving.promote(2, keep_loaded=keep)
    serving.promote(3)
    assert serving.said()[0] == (1, 2, 3)[2 - keep :]


def test_a_trial_is_part_of_what_served(serving: Any) -> None:
    serving.promote(2, canary=True, reason="try it")
    now = "9999-01-01"
    (trial,) = serving.registry.served(MODEL, now, alias="canary")
    assert (trial.version.number, trial.reason) == (2, "try it")
    both = serving.registry.served(MODEL, now, destination=str(serving.base))
    assert [served.version.number for served in both] == [2, 1]


def test_an_aborted_trial(serving: Any) -> None:
    serving.promote(2, canary=True)
    done = abort(serving.registry, MODEL, serving.base, servers=serving.servers, reason="too slow")
    assert (done.version.number, done.label) == (2, "")
    assert serving.said() == ((1,), {"stable": 1})
    assert serving.aliases() == {"production": 1}
    assert serving.running[0].labels(MODEL) == {"stable": 1}
    with pytest.raises(NotFoundError, match="no version of 'penguin' is on trial"):
        abort(serving.registry, MODEL, serving.base)
    assert serving.registry.history(MODEL)[-1].reason == "too slow"


def test_one_trial_at_a_time(serving: Any) -> None:
    serving.promote(2, canary=True)
    with pytest.raises(RefusedError, match="version 2 is on trial"):
        serving.promote(3, canary=True)
    with pytest.raises(RefusedError, match=r"abort penguin"):
        serving.promote(3)
    with pytest.raises(NotFoundError, match="version 2 is"):
        promote_canary(serving.registry, MODEL, serving.base, number=3)
    assert serving.said() == ((1, 2), {"stable": 1, "canary": 2})


def test_the_alias_of_a_trial_is_not_moved_by_hand(serving: Any) -> None:
    serving.promote(2, canary=True)
    with pytest.raises(RefusedError, match="on trial"):
        serving.registry.set_alias(MODEL, "canary", 3)
    with pytest.raises(RefusedError, match="on trial"):
        serving.registry.remove_alias(MODEL, "canary")
    with pytest.raises(RefusedError, match="'canary' points at it"):
        serving.registry.archive(MODEL, 2, reason="old")


def test_a_trial_needs_something_beside_it(place: Any) -> None:
    with pytest.raises(RefusedError, match="nothing serves there"):
        place.promote(1, canary=True)
    promote(place.registry, MODEL, 1, place.base)
    with pytest.raises(RefusedError, match="its servers load the latest version"):
        place.promote(2, canary=True)
    assert not place.config.exists()
    place.promote(1, servers=Servers(no_wait=True))
    with pytest.raises(RefusedError, match="it serves there"):
        place.promote(1, canary=True)


def test_a_trial_needs_the_gate(serving: Any) -> None:
    path = write_minimal_model(serving.folder / "models" / "5", "note 5")
    serving.registry.register(MODEL, path)
    with pytest.raises(RefusedError, match="no gate decision"):
        serving.promote(5, canary=True)
    assert serving.said() == ((1,), {"stable": 1})
    assert not (serving.base / "5").exists()
