"""Places that are no serving directory, and links that lead out of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfx_registry.errors import ServingDirectoryError
from tfx_registry.serving import ServingDirectory


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "serving" / "penguin"
    with ServingDirectory.lock(folder):
        (folder / "3").mkdir()
    return folder


def lock(folder: Path) -> None:
    with ServingDirectory.lock(folder):
        pass


@pytest.mark.parametrize("name", ["3", "4", "007"])
def test_a_version_is_no_serving_directory(base: Path, name: str) -> None:
    with pytest.raises(ServingDirectoryError, match="a version in a serving directory") as caught:
        lock(base / name)
    assert repr(str(base)) in caught.value.todo
    assert sorted(p.name for p in base.iterdir()) == [".tfx_registry", "3"]
    assert not list((base / "3").iterdir())


def test_a_number_may_be_the_name_of_a_model(tmp_path: Path) -> None:
    lock(tmp_path / "models" / "42")
    assert (tmp_path / "models" / "42" / ".tfx_registry").is_dir()


@pytest.mark.parametrize("name", ["", "staging", "trash", "withdrawn", "quarantine", "lock"])
def test_links_are_not_followed(base: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    (victim / "staging").mkdir(parents=True)
    (victim / "staging" / "kept").write_text("kept", encoding="utf-8")
    state = base / ".tfx_registry"
    if not name:
        (state / "lock").unlink()
        state.rmdir()
    elif name == "lock":
        (state / name).unlink()
    (state / name if name else state).symlink_to(victim if name != "staging" else victim / name)
    with pytest.raises(ServingDirectoryError):
        lock(base)
    assert (victim / "staging" / "kept").read_text(encoding="utf-8") == "kept"
