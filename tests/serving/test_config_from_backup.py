"""A model config that was put back from a backup, before servers have read it."""

from __future__ import annotations

from typing import Any

import pytest

from tfx_registry.errors import RefusedError
from tfx_registry.operations.servers import Servers
from tfx_registry.serving.model_config_file import ModelConfigFile

MODEL = "penguin"


def put_back_unread(place: Any, text: str, monkeypatch: pytest.MonkeyPatch, *unread: int) -> None:
    """Puts a file back; some servers read the file again only once a promoter has written it."""
    sleeping = [place.running[i] for i in unread]
    for server in sleeping:
        server._polls_config = False
        server._poll_config, original = (lambda: None), server._poll_config
        server.original_poll = original
    place.config.write_text(text)
    swap = ModelConfigFile._swap

    def awake(file: ModelConfigFile, *args: Any) -> bool:
        done = swap(file, *args)
        for server in sleeping:
            server._poll_config = server.original_poll
            server._polls_config = True
        return done

    monkeypatch.setattr(ModelConfigFile, "_swap", awake)


def refused_labels(place: Any) -> list[str]:
    return [error for server in place.running for error in server.errors if "label" in error]


@pytest.mark.parametrize("unread", [(), (0,), (0, 1)])
@pytest.mark.parametrize("canary", [True, False])
def test_a_promotion_into_it(
    serving: Any, monkeypatch: pytest.MonkeyPatch, canary: bool, unread: tuple[int, ...]
) -> None:
    """The file says that 1 is stable; the registry says 2, and 1 is not loaded any more."""
    old = serving.config.read_text()
    serving.promote(2, keep_loaded=0)
    assert serving.said() == ((2,), {"stable": 2})
    put_back_unread(serving, old, monkeypatch, *unread)
    serving.promote(3, canary=canary, keep_loaded=0)
    labels = {"stable": 2, "canary": 3} if canary else {"stable": 3}
    assert serving.said() == (((2, 3) if canary else (3,)), labels)
    for server in serving.running:
        assert server.labels(MODEL) == labels


def test_no_label_goes_back_where_servers_have_what_the_registry_says(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = serving.config.read_text()
    serving.promote(2, keep_loaded=0)
    put_back_unread(serving, old, monkeypatch, 0, 1)
    written = []
    swap = ModelConfigFile._swap

    def watched(file: ModelConfigFile, *args: Any) -> bool:
        done = swap(file, *args)
        written.append(serving.said())
        return done

    monkeypatch.setattr(ModelConfigFile, "_swap", watched)
    serving.promote(3, keep_loaded=0)
    assert written == [((2, 3), {"stable": 2}), ((3,), {"stable": 3})]
    assert refused_labels(serving) == []


def test_without_servers_every_label_needs_a_second_command(serving: Any) -> None:
    """Also the one of what serves; a trial may not make it move at once."""
    old = serving.config.read_text()
    serving.promote(2)
    serving.config.write_text(old)
    with pytest.raises(RefusedError, match=r"label of penguin:2 has not moved yet.*AVAILABLE"):
        serving.promote(3, canary=True, servers=Servers(no_wait=True))
    assert serving.said() == ((1, 2, 3), {"stable": 1})
    assert serving.aliases() == {"production": 2}
    assert serving.promote(3, canary=True, servers=Servers(no_wait=True)).changed
    assert serving.said() == ((1, 2, 3), {"stable": 2, "canary": 3})


def test_what_only_the_backup_lists_is_not_taken_for_loaded(serving: Any) -> None:
    serving.promote(2)
    text = serving.config.read_text()
    more = text.replace("      versions: 2\n", "      versions: 2\n      versions: 3\n")
    assert more != text
    serving.config.write_text(more)
    with pytest.raises(RefusedError, match="--no-wait"):
        serving.promote(3, servers=Servers(no_wait=True))
    assert serving.said() == ((1, 2, 3), {"stable": 2})
    assert serving.promote(3, servers=Servers(no_wait=True)).changed
    assert serving.said() == ((2, 3), {"stable": 3})
