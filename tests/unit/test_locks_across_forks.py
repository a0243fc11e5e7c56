"""A forked process has the locks of its parent open: it neither keeps them nor gives them back."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tfx_registry.registry import sqlite_turn
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.serving.publish import ServingDirectory

Lock = Callable[[], AbstractContextManager[Any]]


def turn(folder: Path) -> tuple[Lock, Path]:
    path = folder / "r.sqlite"
    path.write_bytes(b"")
    path.with_name("r.sqlite-wal").write_bytes(b"")
    opened = sqlite_turn.opened(path)
    return lambda: sqlite_turn.turn(path, opened), folder / "r.sqlite-writers"


def directory(folder: Path) -> tuple[Lock, Path]:
    base = folder / "penguin"
    return lambda: ServingDirectory.lock(base), base / ".tfx_registry" / "lock"


def config(folder: Path) -> tuple[Lock, Path]:
    path = folder / "models.config"
    return lambda: ModelConfigFile.lock(path), folder / "models.config.lock"


LOCKS = pytest.mark.parametrize("make", [turn, directory, config])


def is_free(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@LOCKS
def test_a_lock_ends_though_a_forked_process_lives_on(
    tmp_path: Path, make: Callable[[Path], tuple[Lock, Path]]
) -> None:
    lock, path = make(tmp_path)
    with lock():
        child = os.fork()
        if not child:
            signal.pause()
        assert not is_free(path)
    try:
        assert is_free(path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@LOCKS
def test_a_forked_process_does_not_give_back_what_its_parent_holds(
    tmp_path: Path, make: Callable[[Path], tuple[Lock, Path]]
) -> None:
    lock, path = make(tmp_path)
    child = -1
    try:
        with lock():
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0
                assert not is_free(path)
    finally:
        if not child:
            os._exit(0)
