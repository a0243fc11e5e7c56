"""A power failure at each moment of a publish: a whole version afterwards, or none."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tfx_registry.digest import DirectoryDigest, digest_path
from tfx_registry.serving import ServingDirectory, copying
from tfx_registry.serving.layout import parse_version_name
from tfx_registry.testing.file_calls import Call, watched_calls
from tfx_registry.testing.power_failure import Node, State, states_after_power_failures


@pytest.fixture
def digest(saved_model: Path) -> DirectoryDigest:
    return digest_path(saved_model)


@pytest.fixture
def expected(saved_model: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(saved_model)): None if path.is_dir() else path.read_bytes()
        for path in saved_model.rglob("*")
    }


def publish(model: Path, base: Path, digest: DirectoryDigest, number: int = 1) -> None:
    with ServingDirectory.lock(base) as directory:
        directory.publish(
            model, number, owner="triple", digest=digest.root, manifest=digest.manifest
        )


@pytest.fixture(params=["whole", "each"])
def calls(
    saved_model: Path,
    tmp_path: Path,
    digest: DirectoryDigest,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> list[Call]:
    """What a publish of the first version, into a directory that has to be made, calls."""
    monkeypatch.setattr(copying, "worker_count", lambda: 1)
    monkeypatch.setattr(copying, "_syncfs_can_be_trusted", lambda _: request.param == "whole")
    root = tmp_path / "disk"
    root.mkdir()
    with watched_calls(root, sync=False) as made:
        publish(saved_model, root / "serving", digest)
    return made


def violations(states: Sequence[State], expected: dict[str, bytes | None]) -> list[str]:
    return [
        f"after {state.calls} calls, lost {state.lost}: {path} is not whole"
        for state in states
        for path, node in versions(state.root)
        if not is_whole(node, expected)
    ]


def versions(root: Node) -> list[tuple[str, Node]]:
    base = root.find("serving")
    below = (base.entries or {}).items() if base is not None else ()
    return [(name, node) for name, node in below if parse_version_name(name) is not None]


def is_whole(node: Node, expected: dict[str, bytes | None]) -> bool:
    """Has all bytes, and may be read by everybody."""
    found = {
        path: None if below.entries is not None else bytes(below.data)
        for path, below in node.files()
    }
    modes = {(below.entries is not None, below.mode) for _, below in node.files()}
    return found == expected and node.mode == 0o755 and modes <= {(True, 0o755), (False, 0o644)}


def test_no_half_version_is_ever_visible(
    calls: list[Call], tmp_path: Path, expected: dict[str, bytes | None]
) -> None:
    states = list(states_after_power_failures(tmp_path / "disk", calls))
    assert len(states) > 500
    assert violations(states, expected) == []
    assert any(versions(state.root) for state in states)


def test_what_was_acknowledged_survives(
    calls: list[Call], tmp_path: Path, expected: dict[str, bytes | None]
) -> None:
    """Once `publish` has returned, whatever it did not wait for may be lost."""
    after = list(states_after_power_failures(tmp_path / "disk", calls))
    last = max(state.calls for state in after)
    for state in after:
        if state.calls < last:
            continue
        assert [name for name, _ in versions(state.root)] == ["1"], state.lost
        assert is_whole(versions(state.root)[0][1], expected), state.lost
        owner = state.root.find("serving/.tfx_registry/model")
        assert owner is not None
        assert bytes(owner.data) == b"triple\n"


def test_the_owner_is_never_half_written(calls: list[Call], tmp_path: Path) -> None:
    for state in states_after_power_failures(tmp_path / "disk", calls):
        owner = state.root.find("serving/.tfx_registry/model")
        assert owner is None or bytes(owner.data) == b"triple\n", state.lost


def test_the_next_publish_recovers(
    calls: list[Call],
    tmp_path: Path,
    saved_model: Path,
    digest: DirectoryDigest,
) -> None:
    states = list(states_after_power_failures(tmp_path / "disk", calls))
    for index, state in enumerate(random.Random(3).sample(states, 40)):
        root = tmp_path / f"after{index}"
        state.root.write_to(root)
        with watched_calls(root, sync=False):
            publish(saved_model, root / "serving", digest)
        assert digest_path(root / "serving" / "1") == digest, state.lost
        left = {path.name for path in (root / "serving" / ".tfx_registry").iterdir()}
        assert left == {"lock", "model"}, state.lost
        shutil.rmtree(root)


def without(function: str, text: str = "") -> Callable[[Call], bool]:
    return lambda call: call.name.function != function or text not in call.name.path


def test_the_model_notices_what_is_forgotten(
    calls: list[Call], tmp_path: Path, expected: dict[str, bytes | None]
) -> None:
    """Each sync before the rename is needed; without it there is a state with half a version."""
    disk = tmp_path / "disk"
    staged = {c.name.path for c in calls if "staging/1." in c.name.path}
    whole = any(c.name.function == "syncfs" for c in calls)
    if whole:
        forgotten = [without("syncfs")]
    else:
        synced = {c.name.path for c in calls if c.name.function == "fsync"} & staged
        assert len(synced) >= 5
        forgotten = [without("fsync", path) for path in synced]
    for keep in forgotten:
        kept = [call for call in calls if keep(call)]
        assert violations(list(states_after_power_failures(disk, kept)), expected)


def test_the_model_notices_a_rename_that_is_not_synced(calls: list[Call], tmp_path: Path) -> None:
    renamed = next(i for i, c in enumerate(calls) if c.name.function == "rename_no_replace")
    kept = [c for i, c in enumerate(calls) if i < renamed + 1 or c.name.function != "fsync"]
    states = list(states_after_power_failures(tmp_path / "disk", kept))
    last = max(state.calls for state in states)
    assert any(versions(s.root) == [] for s in states if s.calls == last)


def test_the_model_notices_a_mode_set_too_late(
    calls: list[Call], tmp_path: Path, expected: dict[str, bytes | None]
) -> None:
    """A file that only its owner may read is no version for a server of another user."""
    modes = [c for c in calls if c.name.function == "chmod" and "saved_model.pb" in c.name.path]
    assert len(modes) == 1
    late = [c for c in calls if c not in modes]
    renamed = next(i for i, c in enumerate(late) if c.name.function == "rename_no_replace")
    moved = dataclasses.replace(modes[0], descriptor=-1)
    kept = [*late[:renamed], moved, *late[renamed:]]
    assert violations(list(states_after_power_failures(tmp_path / "disk", kept)), expected)
