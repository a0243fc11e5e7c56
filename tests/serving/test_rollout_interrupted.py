"""Operators' commands on a directory with a model config; rollouts that die half way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import RefusedError
from tfx_registry.operations import (
    Retention,
    label_moves,
    prune,
    reconcile,
    rollback,
    rollout_steps,
    status,
)
from tfx_registry.operations.rollouts import settle
from tfx_registry.operations.servers import Servers
from tfx_registry.operations.trials import abort

MODEL = "penguin"


def test_rollback_moves_the_label_and_puts_nothing_away(serving: Any) -> None:
    serving.promote(2)
    done = rollback(serving.registry, MODEL, serving.base, reason="wrong")
    assert (done.version.number, done.replaces, done.withdrawn) == (1, 2, ())
    assert serving.said() == ((1,), {"stable": 1})
    assert (serving.base / "2").is_dir()


def test_reconcile_undoes_what_was_begun_and_writes_the_file_again(serving: Any) -> None:
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


def test_retention_keeps_what_the_config_lists(serving: Any) -> None:
    for number in (2, 3, 4):
        serving.promote(number, canary=number == 4)
    done = prune(serving.registry, MODEL, serving.base, Retention(1), dry_run=False)
    assert [removal.number for removal in done.removed] == [1]
    assert [kept.number for kept in done.kept] == [2, 3, 4]
    assert serving.said() == ((2, 3, 4), {"stable": 3, "canary": 4})


Interrupt = Callable[[Any, pytest.MonkeyPatch], None]


class Killed(BaseException):
    """Like SIGKILL: nothing that was to follow happens."""


@pytest.mark.parametrize("canary", [True, False])
@pytest.mark.parametrize(
    ("what", "calls"),
    [("record_rollout", 0), ("record_rollout", 1), ("write_entry", 0), ("write_entry", 1),
     ("check_servers", 1), ("record", 0), ("record", 1), ("finish", 0), ("finish", 1)],
)  # fmt: skip
def test_interrupted_then_repeated_and_interrupted_then_aborted(
    serving: Any, monkeypatch: pytest.MonkeyPatch, what: str, calls: int, canary: bool
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
        "write_entry": (label_moves, "write_entry"),
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
