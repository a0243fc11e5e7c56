"""The model config file on disk: locked, replaced in one step, its neighbours left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tfx_registry.errors import InvalidInputError, ServingDirectoryError
from tfx_registry.serving import replacing
from tfx_registry.serving.model_config import ServedModel, SpecificVersions
from tfx_registry.serving.model_config_file import ModelConfigFile


def model(name: str, *numbers: int) -> ServedModel:
    return ServedModel(name, f"/models/{name}", SpecificVersions(numbers), {"stable": numbers[0]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "models.config"


def put(path: Path, served: ServedModel) -> bool:
    with ModelConfigFile.lock(path) as file:
        return file.put(served)


def test_what_was_put_is_found(path: Path) -> None:
    assert ModelConfigFile.peek(path) == ()
    assert put(path, model("a", 1))
    assert put(path, model("b", 2, 3))
    assert ModelConfigFile.peek(path) == (model("a", 1), model("b", 2, 3))
    with ModelConfigFile.lock(path) as file:
        assert file.find("b") == model("b", 2, 3)
        assert file.find("c") is None


def test_nothing_is_written_when_nothing_changes(path: Path) -> None:
    put(path, model("a", 1))
    before = path.stat()
    assert not put(path, model("a", 1))
    assert path.stat().st_ino == before.st_ino


def test_a_server_of_another_user_can_read_it_and_its_mode_is_kept(path: Path) -> None:
    old = os.umask(0o077)
    try:
        put(path, model("a", 1))
        assert path.stat().st_mode & 0o777 == 0o644
        path.chmod(0o640)
        put(path, model("a", 2))
        assert path.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(old)


def test_the_owner_of_the_file_keeps_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of mode 0640 would be gone for its group if root made it anew."""
    put(path, model("a", 1))
    given = []
    monkeypatch.setattr(os, "fchown", lambda _, *whose: given.append(whose))
    about = path.stat()
    put(path, model("a", 2))
    assert given == [(about.st_uid, about.st_gid)]


@pytest.mark.parametrize(
    ("mode", "user", "group", "refused"),
    [
        (0o644, 1, 1, False),  # everybody may read it
        (0o640, 1, 1, True),  # the server may be in the group
        (0o640, 1, 0, False),
        (0o600, 1, 0, True),  # the server may be the user
        (0o600, 0, 1, False),
    ],
)
def test_a_file_that_the_server_could_not_read_any_more_is_not_made(
    path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, user: int, group: int, refused: bool
) -> None:
    """The numbers say how far user and group are from ours."""

    def fchown(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", fchown)
    path.write_text("")
    own = path.stat()
    about = os.stat_result((mode, 0, 0, 1, own.st_uid + user, own.st_gid + group, 0, 0, 0, 0))
    with path.open("wb") as file:
        if refused:
            with pytest.raises(PermissionError, match="might not be able to read it"):
                replacing._give(file.fileno(), about)
        else:
            replacing._give(file.fileno(), about)
            assert path.stat().st_mode & 0o777 == mode


def test_who_may_read_a_file_by_its_access_list_still_may(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(path, model("a", 1))
    copied = {}
    monkeypatch.setattr(os, "getxattr", lambda *asked: asked, raising=False)
    monkeypatch.setattr(
        os, "setxattr", lambda _, name, value: copied.update({name: value}), raising=False
    )
    put(path, model("a", 2))
    name = "system.posix_acl_access"
    assert copied == {name: (path, name)}


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    path.write_text("# kept\n")
    link = tmp_path / "link.config"
    link.symlink_to(path)
    put(link, model("a", 1))
    assert link.is_symlink()
    assert path.read_text().startswith("# kept\n")
    assert ModelConfigFile.peek(path) == (model("a", 1),)


def test_what_cannot_be_used(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ServingDirectoryError, match="it is a directory"):
        put(tmp_path, model("a", 1))
    with pytest.raises(ServingDirectoryError, match="folder does not exist"):
        put(tmp_path / "missing" / "models.config", model("a", 1))
    path.write_bytes(b"\xff")
    with pytest.raises(InvalidInputError, match="utf-8"):
        ModelConfigFile.peek(path)
    path.write_text("model_config_list {")
    with pytest.raises(InvalidInputError, match=r"models\.config.*line 1"):
        put(path, model("a", 1))
    assert path.read_text() == "model_config_list {"


def test_leftovers_of_a_dead_promoter_are_removed(path: Path, tmp_path: Path) -> None:
    (tmp_path / ".models.config.abc.tmp").write_text("half")
    (tmp_path / ".models.config.other").write_text("not ours")
    put(path, model("a", 1))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".models.config.other", "models.config", "models.config.lock",
    ]  # fmt: skip


WRITER = """
import sys
from tfx_registry.serving.model_config import ServedModel, SpecificVersions
from tfx_registry.serving.model_config_file import ModelConfigFile
path, name, count = sys.argv[1:]
print("ready", flush=True)
for number in range(1, int(count) + 1):
    with ModelConfigFile.lock(path) as file:
        before = file.find(name)
        assert (before is None) == (number == 1)
        file.put(ServedModel(name, "/m/" + name, SpecificVersions((number,)), {"stable": number}))
"""


def test_promoters_of_several_models_lose_nothing_and_readers_see_whole_files(path: Path) -> None:
    names = ("a", "b", "c")
    stop, seen = threading.Event(), list[object]()

    def watch() -> None:
        while not stop.is_set():
            try:
                for served in ModelConfigFile.peek(path):
                    assert isinstance(served.policy, SpecificVersions)
                    assert served.labels == {"stable": served.policy.numbers[0]}
            except Exception as error:  # noqa: BLE001 - shown by the assertion below
                seen.append(error)
            time.sleep(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, "25"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in names
    ]  # fmt: skip
    results = [writer.communicate(timeout=120) for writer in writers]
    stop.set()
    thread.join()
    assert [w.returncode for w in writers] == [0, 0, 0], results
    assert seen == []
    found = {m.name: m.policy for m in ModelConfigFile.peek(path)}
    assert found == dict.fromkeys(names, SpecificVersions((25,)))


def test_the_lock_of_a_killed_promoter_blocks_nobody(path: Path) -> None:
    code = WRITER + "\nlock = ModelConfigFile.lock(path)\nlock.__enter__()\n"
    code += "print('locked', flush=True)\nimport time; time.sleep(600)\n"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path), "a", "1"], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert [holder.stdout.readline() for _ in range(2)] == ["ready\n", "locked\n"]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert put(path, model("a", 2))
