"""Rollouts whose servers cannot load the version, or are not asked."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tfx_registry.errors import NotServedError, RefusedError
from tfx_registry.operations.servers import Servers
from tfx_registry.operations.trials import abort

MODEL = "penguin"


@pytest.mark.parametrize("canary", [True, False])
def test_a_version_that_does_not_load_is_taken_out_again(serving: Any, canary: bool) -> None:
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


def test_a_version_that_does_not_load_may_stay_listed(serving: Any) -> None:
    serving.loader.refused.add("2")
    servers = dataclasses.replace(serving.servers, keep_failed=True)
    with pytest.raises(NotServedError):
        serving.promote(2, servers=servers)
    assert serving.said() == ((1, 2), {"stable": 1})
    assert str(serving.base) in serving.registry.head(MODEL).rollouts
    abort(serving.registry, MODEL, serving.base, servers=serving.servers)
    assert serving.said() == ((1,), {"stable": 1})


def test_a_first_rollout_that_fails_leaves_the_file_as_it_was(place: Any) -> None:
    text = f'model_config_list {{\n  config {{ name: "iris" base_path: "{place.folder}" }}\n}}\n'
    place.config.write_text(text)
    dead = Servers(("http://127.0.0.1:9",), deadline_seconds=0.01, poll_seconds=0.01)
    with pytest.raises(NotServedError, match="no answer"):
        place.promote(1, servers=dead)
    assert place.config.read_text() == text
    assert place.aliases() == {}


def test_without_servers_a_label_moves_only_once_somebody_has_looked(serving: Any) -> None:
    for _ in range(2):
        with pytest.raises(RefusedError, match=r"versions/2 of every server.*--no-wait"):
            serving.promote(2, servers=Servers())
        assert serving.said() == ((1, 2), {"stable": 1})
    assert serving.aliases() == {"production": 1}
    serving.promote(2, servers=Servers(no_wait=True))
    assert serving.said() == ((1, 2), {"stable": 2})


def test_no_wait_does_not_move_a_label_to_what_was_not_listed(serving: Any) -> None:
    with pytest.raises(RefusedError, match="--no-wait"):
        serving.promote(2, servers=Servers(no_wait=True))
    assert serving.said() == ((1, 2), {"stable": 1})
    # A label that is new can be given at once, if servers run with the flag for that.
    abort(serving.registry, MODEL, serving.base)
    serving.promote(2, canary=True, servers=Servers(no_wait=True))
    assert serving.said() == ((1, 2), {"stable": 1, "canary": 2})
