"""A server that polls between any two renames always serves, and never a version in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tfx_registry import Retention, promote, prune, reconcile, rollback
from tfx_registry.serving import publish as publish_module
from tfx_registry.serving import shelf
from tfx_registry.testing.model_server import ModelServerEmulator

MODEL = "penguin"

#: What is prepared before the server starts, what is done, and what may serve meanwhile, in order.
Case = tuple[Callable[[Any], Any], Callable[[Any], Any], list[int]]


def rolled_back(world) -> None:
    rollback(world.registry, MODEL, world.base, reason="before")
    world.decide(3)


def decided(world) -> None:
    world.register()
    world.decide(4)


CASES: dict[str, Case] = {
    "promote": (decided, lambda w: promote(w.registry, MODEL, 4, w.base), [3, 4]),
    "promote again": (rolled_back, lambda w: promote(w.registry, MODEL, 3, w.base), [2, 3]),
    "rollback": (
        lambda _: None,
        lambda w: rollback(w.registry, MODEL, w.base, 1, reason="x"),
        [3, 1],
    ),
    "rollback to what is missing": (
        lambda w: shutil.rmtree(w.base / "1"),
        lambda w: rollback(w.registry, MODEL, w.base, 1, reason="x"),
        [3, 1],
    ),
    "prune": (
        lambda _: None,
        lambda w: prune(w.registry, MODEL, w.base, Retention(1), dry_run=False),
        [3],
    ),
    "repair": (
        lambda w: (w.base / "3" / "assets.extra" / "note.txt").write_text("edited"),
        lambda w: reconcile(w.registry, w.base, quarantine=True),
        [3],
    ),
    "strangers put away": (
        lambda w: shutil.copytree(w.base / "1", w.base / "9"),
        lambda w: reconcile(w.registry, w.base, quarantine=True),
        [9, 3],
    ),
}


@pytest.fixture
def server(served) -> Iterator[ModelServerEmulator]:
    with ModelServerEmulator(
        model_name=MODEL,
        model_base_path=served.base,
        max_num_load_retries=0,
        file_system_poll_wait_seconds=0.0,
    ) as emulator:
        yield emulator


def serves(server: ModelServerEmulator) -> set[int]:
    found = server.statuses(MODEL)
    assert all(status.error_code == "OK" for status in found.values()), found
    return {number for number, status in found.items() if status.state == "AVAILABLE"}


@pytest.mark.parametrize("name", CASES)
def test_a_server_serves_all_the_time(served, server, monkeypatch, name: str) -> None:
    prepare, act, expected = CASES[name]
    prepare(served)
    server.poll_once()
    seen = [serves(server)]

    def polled(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            server.poll_once()
            seen.append(serves(server))
            result = original(*args)
            server.poll_once()
            seen.append(serves(server))
            return result

        return wrapper

    for owner, call in (
        (publish_module, "rename_no_replace"),
        (shelf, "rename_no_replace"),
        (shelf, "_exchange"),
    ):
        monkeypatch.setattr(owner, call, polled(getattr(owner, call)))
    act(served)
    assert len(seen) > 2
    assert list(changes(seen)) == [{number} for number in expected]


def changes(seen: list[set[int]]) -> Iterator[set[int]]:
    """Leaves out what is the same as before."""
    for index, numbers in enumerate(seen):
        if index == 0 or numbers != seen[index - 1]:
            yield numbers


def test_a_server_goes_on_while_its_directory_is_gone(served, server) -> None:
    server.poll_once()
    shutil.rmtree(served.base)
    server.poll_once()
    assert serves(server) == {3}, "a missing directory unloads nothing"
    reconcile(served.registry, served.base, restore=True)
    server.poll_once()
    assert serves(server) == {3}


def test_retention_asks_the_server(served, server) -> None:
    server.poll_once()
    served.register()
    served.promote(4)
    served.register()
    served.promote(5)
    rule = Retention(1, servers=(server.url,))
    done = prune(served.registry, MODEL, served.base, rule, dry_run=False)
    assert [removal.number for removal in done.removed] == [1, 2], "3 is what it has loaded"
    server.poll_once()
    assert serves(server) == {5}
    done = prune(served.registry, MODEL, served.base, rule, dry_run=False)
    assert [removal.number for removal in done.removed] == [3]
