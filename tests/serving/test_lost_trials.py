"""What becomes of a trial whose version is gone, or was changed."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tfx_registry.operations import reconcile, status, verify
from tfx_registry.operations.trials import promote_canary
from tfx_registry.serving.receipts import Bytes

MODEL = "penguin"


@pytest.fixture
def trial(serving: Any) -> Any:
    """Version 1 serves, version 2 is on trial."""
    serving.promote(2, canary=True)
    return serving


def run(place: Any, **options: Any) -> Any:
    """Reconciles, and checks that doing it again does nothing."""
    done = reconcile(place.registry, place.base, **options)
    again = reconcile(place.registry, place.base, **options)
    assert (again.actions, again.problems) == ((), done.problems)
    return done


def test_a_trial_whose_directory_is_gone_is_noticed(trial: Any) -> None:
    assert status(trial.registry, trial.base).problems == ()
    shutil.rmtree(trial.base / "2")
    found = status(trial.registry, trial.base)
    assert found.problems == ("version 2 is on trial and is missing: run 'tfx-registry reconcile'",)
    assert [(row.number, row.place, row.serves) for row in found.rows] == [
        (1, "visible", True), (2, "missing", False),
    ]  # fmt: skip
    checked = verify(trial.registry, MODEL, 2)
    assert [(p.role, p.state) for p in checked.places] == [
        ("registered from", Bytes.RIGHT), ("on trial", Bytes.MISSING),
    ]  # fmt: skip
    assert not checked.good


def test_it_is_published_again_from_where_it_was_registered(trial: Any) -> None:
    shutil.rmtree(trial.base / "2")
    done = run(trial)
    assert done.actions == ("published version 2 again, which is on trial",)
    assert done.problems == ()
    assert trial.said() == ((1, 2), {"stable": 1, "canary": 2})
    assert verify(trial.registry, MODEL, 2).good
    assert promote_canary(trial.registry, MODEL, trial.base, servers=trial.servers).changed


def test_it_comes_back_from_where_it_was_put_away(trial: Any) -> None:
    withdrawn = trial.base / ".tfx_registry" / "withdrawn"
    withdrawn.mkdir()
    (trial.base / "2").rename(withdrawn / "2")
    (action,) = run(trial).actions
    assert action == "brought version 2 back from where it was put away, which is on trial"
    assert (trial.base / "2").is_dir()


@pytest.mark.parametrize("source", ["gone", "changed"])
def test_without_its_bytes_the_trial_ends(trial: Any, source: str) -> None:
    shutil.rmtree(trial.base / "2")
    if source == "gone":
        shutil.rmtree(trial.folder / "models" / "2")
    else:
        (trial.folder / "models" / "2" / "more").write_text("other bytes")
    done = run(trial)
    assert done.problems == ()
    assert done.actions[0].startswith("ended the trial of version 2: it is gone")
    assert trial.said() == ((1,), {"stable": 1})
    assert trial.aliases() == {"production": 1}
    assert status(trial.registry, trial.base).problems == ()
    event = trial.registry.history(MODEL)[-1]
    assert (event.kind, event.reason) == ("canary_ended", "its bytes are gone")
    assert trial.registry.get(MODEL, 2).bytes_gone
    assert trial.promote(3, canary=True).changed  # another one may be tried now


def test_a_trial_whose_bytes_were_changed(trial: Any) -> None:
    (trial.base / "2" / "more").write_text("by hand")
    (problem,) = run(trial).problems
    assert "the bytes of version 2" in problem
    shutil.rmtree(trial.folder / "models" / "2")
    done = run(trial, quarantine=True)
    assert len(done.actions) == 3  # moved away; the trial has ended; the file says so
    assert trial.said() == ((1,), {"stable": 1})


def test_the_whole_directory_comes_back_with_the_trial(trial: Any) -> None:
    shutil.rmtree(trial.base)
    done = run(trial, restore=True)
    assert len(done.actions) == 2
    assert (trial.base / "1").is_dir()
    assert (trial.base / "2").is_dir()
    assert trial.said() == ((1, 2), {"stable": 1, "canary": 2})
