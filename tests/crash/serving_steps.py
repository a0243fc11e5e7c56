"""Kills each operation on a serving directory at each of its steps, then settles everything.

    .venv/bin/python tests/crash/serving_steps.py rollback prune

The arguments are the beginnings of names of `CASES`. It forks, so it runs as a process of its own,
without the threads of TensorFlow that other tests leave in theirs.
"""

from __future__ import annotations

import datetime
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfx_registry import ModelRegistry, Retention, adopt, promote, prune, reconcile, rollback
from tfx_registry.digest import digest_path
from tfx_registry.operations import recovery
from tfx_registry.serving import list_version_directories, receipts, shelf
from tfx_registry.serving import publish as publish_module
from tfx_registry.serving.shelf import Shelf
from tfx_registry.testing.minimal_model import write_minimal_model

MODEL = "penguin"

#: Every call of one of these is a step: a process may die right before it, or right after it.
STEPS: tuple[tuple[Any, str], ...] = (
    *(
        (ModelRegistry, name)
        for name in (
            "record_intent",
            "record_promotion",
            "record_rollback_intent",
            "record_rollback",
            "record_bytes_removed",
            "record_bytes_found",
            "drop_intent",
            "register_adopted",
            "record_adoption",
        )
    ),
    *((Shelf, name) for name in ("trash", "empty", "replace", "claim")),
    (publish_module, "rename_no_replace"),
    (shelf, "rename_no_replace"),
    (shelf, "_exchange"),
    (recovery, "_finish_rollback"),
    (recovery, "_finish_promotion"),
    (receipts, "_write"),
    (shutil, "rmtree"),
)


class World:
    """A registry with versions 1 to 4; 1, 2 and 3 were promoted, 4 may be."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder}/r.sqlite"
        self.models = folder / "models"
        self.base = folder / "serving"
        with ModelRegistry.open(self.uri) as registry:
            for number in range(1, 5):
                path = write_minimal_model(self.models / str(number), f"model {number}")
                registry.register(MODEL, path)
                self.allow(registry, number)
            for number in (1, 2, 3):
                promote(registry, MODEL, number, self.base)

    @staticmethod
    def allow(registry: ModelRegistry, number: int) -> None:
        day = datetime.timedelta(days=1)
        registry.override(MODEL, number, reason="test", expires=day)


def damage(world: World, number: int) -> None:
    (world.base / str(number) / "saved_model.pb").write_bytes(b"edited by hand")


def after_a_rollback(world: World) -> None:
    with ModelRegistry.open(world.uri) as registry:
        rollback(registry, MODEL, world.base, reason="before")
        world.allow(registry, 3)


def with_a_broken_promotion(world: World) -> None:
    with ModelRegistry.open(world.uri) as registry:
        registry.record_intent(MODEL, 4, str(world.base), "production")
    shutil.copytree(world.models / "4", world.base / "4")


def with_a_broken_rollback(world: World) -> None:
    with ModelRegistry.open(world.uri) as registry:
        registry.record_rollback_intent(MODEL, 1, str(world.base), reason="before")


def pushed(world: World) -> None:
    """Another directory, as Pusher leaves it."""
    world.base = world.base.with_name("pushed")
    for number in (1700000000, 1700086400):
        write_minimal_model(world.base / str(number), f"pushed {number}")


#: What is prepared, what is done, and what serves once everything is settled, if it was done.
Case = tuple[Callable[[World], Any], Callable[[ModelRegistry, World], Any], int]

CASES: dict[str, Case] = {
    "promote": (
        lambda _: None,
        lambda registry, world: promote(registry, MODEL, 4, world.base),
        4,
    ),
    "promote what was rolled back": (
        after_a_rollback,
        lambda registry, world: promote(registry, MODEL, 3, world.base),
        3,
    ),
    "promote after a broken rollback": (
        with_a_broken_rollback,
        lambda registry, world: promote(registry, MODEL, 4, world.base),
        4,
    ),
    "rollback": (
        lambda _: None,
        lambda registry, world: rollback(registry, MODEL, world.base, 1, reason="x"),
        1,
    ),
    "rollback to what is missing": (
        lambda world: shutil.rmtree(world.base / "1"),
        lambda registry, world: rollback(registry, MODEL, world.base, 1, reason="x"),
        1,
    ),
    "prune": (
        lambda _: None,
        lambda registry, world: prune(registry, MODEL, world.base, Retention(1), dry_run=False),
        3,
    ),
    "reconcile a broken promotion": (
        with_a_broken_promotion,
        lambda registry, world: reconcile(registry, world.base),
        4,
    ),
    "reconcile a broken rollback": (
        with_a_broken_rollback,
        lambda registry, world: reconcile(registry, world.base),
        1,
    ),
    "reconcile changed bytes": (
        lambda world: damage(world, 3),
        lambda registry, world: reconcile(registry, world.base, quarantine=True),
        3,
    ),
    "reconcile a directory that is gone": (
        lambda world: shutil.rmtree(world.base),
        lambda registry, world: reconcile(registry, world.base, restore=True),
        3,
    ),
    "adopt": (
        pushed,
        lambda registry, world: adopt(registry, MODEL, world.base, alias="batch"),
        1700086400,
    ),
}


def killed_at(world: World, act: Callable[[ModelRegistry, World], Any], step: int) -> bool:
    """Does something in a process that dies at its n-th step; tells whether it got that far."""
    pid = os.fork()
    if pid == 0:
        left = [step]
        for owner, name in STEPS:
            setattr(owner, name, dying(getattr(owner, name), left))
        try:
            with ModelRegistry.open(world.uri) as registry:
                act(registry, world)
        except BaseException:  # noqa: BLE001 - the parent sees it by the exit code
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, f"it failed instead of dying at step {step}"
    return False


def dying(original: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    """Makes a function before and after whose work the process may die."""

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        count()
        result = original(*args, **kwargs)
        count()
        return result

    return wrapper


def check_what_a_server_sees(world: World, registry: ModelRegistry, *, damaged: bool) -> None:
    """A directory that is there holds a version on top, whole, and nothing half."""
    visible = list_version_directories(world.base)
    assert visible or not world.base.exists(), "an empty directory unloads everything"
    for number, names in visible.items():
        assert names == [str(number)]
        known = registry.known_versions(MODEL, [number])
        if known and not damaged:
            right = known[number].facts.manifest
            assert digest_path(world.base / names[0]).manifest == right


def kill_at_each_step(name: str, folder: Path) -> int:
    """Runs one case; returns how many steps it has."""
    prepare, act, serves = CASES[name]
    place, before = folder / "world", folder / "before"
    place.mkdir()
    world = World(place)
    prepare(world)
    place.rename(before)
    step, died = 0, True
    while died:
        step += 1
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(before, place)
        died = killed_at(world, act, step)
        with ModelRegistry.open(world.uri) as registry:
            check_what_a_server_sees(world, registry, damaged="changed" in name)
            settle(world, registry, act, serves)
    return step - 1


def settle(
    world: World, registry: ModelRegistry, act: Callable[[ModelRegistry, World], Any], serves: int
) -> None:
    """Reconciles, does it again, and checks that all say the same then."""
    head = registry.head(MODEL)
    if str(world.base) in {**head.deployments, **head.unfinished}:
        done = reconcile(registry, world.base, MODEL, quarantine=True, restore=True)
        assert done.problems == ()
        assert reconcile(registry, world.base, MODEL, quarantine=True, restore=True).actions == ()
        assert registry.head(MODEL).unfinished == {}
        assert max(list_version_directories(world.base)) == done.serving
    act(registry, world)
    done = reconcile(registry, world.base, MODEL, hash_all=True)
    assert (done.serving, done.actions, done.problems) == (serves, (), ())
    assert max(list_version_directories(world.base)) == serves
    assert registry.fsck().findings == ()
    state = world.base / ".tfx_registry"
    assert Shelf(world.base).trashed() == []
    left = {path.name for path in state.iterdir()}
    kept = {"lock", "model", "receipts", "withdrawn", "quarantine", "trash"}
    assert left <= kept, left
    assert [path.name for path in (state / "receipts").iterdir() if "json." in path.name] == []


def main() -> int:
    """Runs the cases, and prints one line for each."""
    logging.disable(logging.WARNING)  # that recovery is at work is what is wanted here
    for name in CASES:
        if name.startswith(tuple(sys.argv[1:])):
            with tempfile.TemporaryDirectory() as folder:
                steps = kill_at_each_step(name, Path(folder))
            print(f"{name}: killed at {steps} steps")  # noqa: T201 - it talks to a person
    return 0


if __name__ == "__main__":
    sys.exit(main())
