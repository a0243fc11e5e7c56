"""System calls that fail: one clear error, nothing half visible, and all is settled afterwards."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from tfx_registry import Retention, prune, reconcile, rollback
from tfx_registry.digest import digest_path
from tfx_registry.errors import ServingDirectoryError
from tfx_registry.serving import receipts, shelf

MODEL = "penguin"

CALLS: tuple[tuple[Any, str], ...] = (
    (shelf, "rename_no_replace"),
    (shelf, "fsync_directory"),
    (shelf, "_exchange"),
    (shutil, "rmtree"),
)


def damaged(world) -> None:
    (world.base / "3" / "saved_model.pb").write_bytes(b"?")


CASES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], int]] = {
    "rollback": (
        lambda _: None,
        lambda world: rollback(world.registry, MODEL, world.base, 1, reason="x"),
        1,
    ),
    "prune": (
        lambda _: None,
        lambda world: prune(world.registry, MODEL, world.base, Retention(1), dry_run=False),
        3,
    ),
    "repair": (
        damaged,
        lambda world: reconcile(world.registry, world.base, quarantine=True),
        3,
    ),
}


class Faults:
    """Lets the n-th of the calls fail.

    Attributes:
        left: How many calls are left until then.
        code: The error number.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        self.left = 0
        self.code = code
        for owner, name in CALLS:
            monkeypatch.setattr(owner, name, self._wrap(getattr(owner, name)))

    def _wrap(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left != 0:
                return original(*args, **kwargs)
            if kwargs.get("ignore_errors"):
                return None
            raise OSError(self.code, os.strerror(self.code), str(args[0]))

        return wrapper


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("name", CASES)
def test_each_call_fails_once(served_anew, monkeypatch, name: str, code: int) -> None:
    prepare, act, serves = CASES[name]
    faults = Faults(monkeypatch, code)
    errors: list[ServingDirectoryError] = []
    for step in itertools.count(1):
        world = served_anew()
        prepare(world)
        faults.left = step
        try:
            act(world)
        except ServingDirectoryError as error:
            errors.append(error)
        if faults.left > 0:
            break
        faults.left = 0
        check(world, name, serves)
    assert len(errors) >= 4
    for error in errors:
        assert os.strerror(code) in error.why
        assert "reconcile" in error.todo


def check(world, name: str, serves: int) -> None:
    """What a server sees is whole; then all is settled."""
    visible = world.visible()
    assert visible
    for number in visible:
        right = world.registry.get(MODEL, number).digest
        assert name == "repair" or digest_path(world.base / str(number)).root == right
    assert reconcile(world.registry, world.base, quarantine=True).problems == ()
    CASES[name][1](world)
    assert world.serving() == serves
    assert max(world.visible()) == serves
    done = reconcile(world.registry, world.base, hash_all=True)
    assert (done.actions, done.problems) == ((), ())


def test_a_receipt_that_cannot_be_written_is_no_error(served, monkeypatch) -> None:
    shutil.rmtree(served.base / ".tfx_registry" / "receipts")
    monkeypatch.setattr(receipts.json, "dumps", _full)
    assert rollback(served.registry, MODEL, served.base, reason="x").version.number == 2
    assert not list((served.base / ".tfx_registry" / "receipts").glob("*"))


def _full(*_: Any) -> str:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
