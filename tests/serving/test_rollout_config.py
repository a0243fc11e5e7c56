"""What rollouts write into a model config, and what they leave alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tfx_registry.errors import InvalidInputError, RefusedError
from tfx_registry.operations import reconcile, rollout_steps
from tfx_registry.operations.rollouts import promote_by_config, settle
from tfx_registry.operations.servers import Servers
from tfx_registry.operations.trials import abort
from tfx_registry.promotion import promote
from tfx_registry.serving.model_config import LatestVersions, SpecificVersions
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.testing.minimal_model import write_minimal_model

MODEL = "penguin"


class Killed(BaseException):
    """Like SIGKILL: nothing that was to follow happens."""


def test_other_models_and_other_labels_are_kept(place: Any) -> None:
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


def test_an_entry_for_another_directory_is_refused(place: Any) -> None:
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


def test_what_cannot_be_a_target(place: Any) -> None:
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


def test_the_file_of_the_last_time_is_used(serving: Any) -> None:
    done = promote_by_config(serving.registry, MODEL, 2, serving.base, servers=serving.servers)
    assert done.config.path == str(serving.config)


def test_a_file_that_was_lost_or_changed_by_hand_is_written_again(serving: Any) -> None:
    serving.promote(2, canary=True)
    right = serving.config.read_text()
    serving.config.unlink()
    assert settle(serving.registry, MODEL, serving.base)
    assert serving.said() == ((1, 2), {"stable": 1, "canary": 2})
    serving.config.write_text(right.replace('"stable" value: 1', '"stable" value: 2'))
    assert settle(serving.registry, MODEL, serving.base)
    assert serving.config.read_text() == right
    assert not settle(serving.registry, MODEL, serving.base)


def test_a_promotion_to_the_latest_is_refused_where_a_config_decides(serving: Any) -> None:
    with pytest.raises(RefusedError, match=r"--model-config"):
        promote(serving.registry, MODEL, 2, serving.base)
    assert not (serving.base / "2").exists()


def test_from_latest_to_a_config(place: Any) -> None:
    """The server goes on with what it serves while it is started anew with the config."""
    promote(place.registry, MODEL, 1, place.base)
    promote(place.registry, MODEL, 2, place.base)
    place.promote(2, servers=Servers(no_wait=True))
    assert place.said() == ((1, 2), {"stable": 2})
    place.start()
    assert not place.promote(2).changed
    place.promote(3, canary=True)
    assert place.said() == ((1, 2, 3), {"stable": 2, "canary": 3})


def _entry_of_the_latest(place: Any) -> str:
    return (
        f'model_config_list {{\n  config {{ name: "{MODEL}" base_path: "{place.base}" '
        'model_platform: "tensorflow" }\n}\n'
    )


@pytest.mark.parametrize("undo", [abort, reconcile])
@pytest.mark.parametrize("listed", [True, False])
def test_back_to_latest_after_a_first_rollout_that_came_to_nothing(
    place: Any, undo: Callable[..., object], listed: bool
) -> None:
    promote(place.registry, MODEL, 1, place.base)
    promote(place.registry, MODEL, 2, place.base)
    if listed:
        place.config.write_text(_entry_of_the_latest(place))
    with pytest.raises(RefusedError, match="--wait-for"):
        place.promote(3, servers=Servers())
    assert place.said() == ((1, 2), {})
    assert not (place.base / "3").exists()
    with pytest.raises(RefusedError, match=r"rollout of version 3 by .* is not finished there"):
        promote(place.registry, MODEL, 4, place.base)
    if undo is abort:
        abort(place.registry, MODEL, place.base)
    else:
        assert reconcile(place.registry, place.base).problems == ()
    assert place.registry.head(MODEL).rollouts == {}
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
    place: Any, monkeypatch: pytest.MonkeyPatch
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
