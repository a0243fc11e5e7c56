"""Who holds a directory, and whose is what is made in it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tfx_registry import syscalls
from tfx_registry.digest import digest_path
from tfx_registry.errors import ServingDirectoryError
from tfx_registry.serving import ServingDirectory, ownership
from tfx_registry.serving.atomic import remove_tree
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.serving.shelf import Shelf

SECONDS = 60.0


def lock_base(path: Path) -> object:
    return ServingDirectory.lock(path / "serving")


def lock_config(path: Path) -> object:
    return ModelConfigFile.lock(path / "models.config")


def tidy_base(path: Path) -> None:
    shutil.rmtree(path / "serving" / ".tfx_registry")


def move_base(path: Path) -> None:
    (path / "serving").rename(path / "moved")


def tidy_config(path: Path) -> None:
    (path / "models.config.lock").unlink()


@pytest.mark.parametrize(
    ("lock", "remove"),
    [(lock_base, tidy_base), (lock_base, move_base), (lock_config, tidy_config)],
)
def test_one_at_a_time_also_where_the_lock_was_removed_meanwhile(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lock: Callable[[Path], threading.Lock],
    remove: Callable[[Path], None],
) -> None:
    """Whoever waits for a lock that has lost its name must not share the place with a newcomer."""
    waits, original = threading.Semaphore(0), syscalls.flock

    def flock(descriptor: int, operation: int) -> None:
        if not operation & fcntl.LOCK_NB:
            waits.release()
        original(descriptor, operation)

    monkeypatch.setattr(syscalls, "flock", flock)
    inside, most, count = threading.Lock(), [0], [0]

    def work(hold: threading.Event) -> None:
        with lock(tmp_path):
            with inside:
                count[0] += 1
                most[0] = max(most[0], count[0])
            assert hold.wait(SECONDS)
            with inside:
                count[0] -= 1

    newcomer, waiter = threading.Event(), threading.Event()
    with lock(tmp_path):
        first = threading.Thread(target=work, args=(waiter,), daemon=True)
        first.start()
        assert waits.acquire(timeout=SECONDS)
        remove(tmp_path)
        second = threading.Thread(target=work, args=(newcomer,), daemon=True)
        second.start()
        while count[0] < 1:  # the newcomer is in
            assert second.is_alive()
            time.sleep(0.01)
    assert waits.acquire(timeout=SECONDS), "the one that waited sees that and waits again"
    newcomer.set()
    waiter.set()
    for thread in (first, second):
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert most == [1]


def test_a_publisher_whose_lock_was_removed_adds_nothing_and_leaves_others_alone(
    tmp_path: Path, saved_model: Path
) -> None:
    base, digest = tmp_path / "serving", digest_path(saved_model)
    state = base / ".tfx_registry"

    def tidy(_: Path) -> None:
        """Somebody removes the lock, and somebody else begins to publish."""
        (state / "lock").unlink()
        (state / "staging" / "of-somebody-else").mkdir()

    with (
        ServingDirectory.lock(base) as directory,
        pytest.raises(ServingDirectoryError, match="was removed or moved while this worked"),
    ):
        directory.publish(
            saved_model, 1, owner="m", digest=digest.root, manifest=digest.manifest, check=tidy
        )
    assert [path.name for path in base.iterdir()] == [".tfx_registry"]
    assert [path.name for path in (state / "staging").iterdir()] == ["of-somebody-else"]


def test_the_lock_can_be_taken_on_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There an exclusive lock needs a descriptor that may write (flock(2))."""
    original = syscalls.flock

    def flock(descriptor: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX and fcntl.fcntl(descriptor, fcntl.F_GETFL) & 3 == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        original(descriptor, operation)

    monkeypatch.setattr(syscalls, "flock", flock)
    for lock in (lock_base, lock_config):
        with lock(tmp_path):  # type: ignore[attr-defined]
            pass


# Whose it is


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """This process is root, and the folder belongs to user 1000 with group 100."""
    found: dict[str, tuple[int, int]] = {}
    original_lstat, original_fstat = syscalls.lstat, syscalls.fstat

    def seen(found: os.stat_result, *, foreign: bool) -> os.stat_result:
        fields = list(found)
        fields[4:6] = (1000, 100) if foreign else (0, 0)
        return os.stat_result(fields)

    def lstat(path: syscalls.Path) -> os.stat_result:
        name = os.fspath(path)
        return seen(original_lstat(path), foreign=name == str(tmp_path) or name in found)

    def fstat(descriptor: int) -> os.stat_result:
        return seen(original_fstat(descriptor), foreign=False)

    def give(descriptor: int, owner: int, group: int) -> None:
        found[str(Path(f"/proc/self/fd/{descriptor}").readlink())] = (owner, group)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name, stand_in in (("lstat", lstat), ("fstat", fstat), ("give", give)):
        monkeypatch.setattr(syscalls, name, stand_in)
    return found


def test_what_root_makes_belongs_to_whoever_owns_the_directory(
    tmp_path: Path, saved_model: Path, given: dict[str, tuple[int, int]]
) -> None:
    base, digest = tmp_path / "penguin", digest_path(saved_model)
    with ServingDirectory.lock(base) as directory:
        directory.publish(saved_model, 1, owner="m", digest=digest.root, manifest=digest.manifest)
        Shelf(base).withdraw("1")
    names = {
        name.replace(str(tmp_path), "").partition("staging/")[0]: owner
        for name, owner in given.items()
    }
    assert set(names.values()) == {(1000, 100)}
    state = "/penguin/.tfx_registry"
    assert set(names) >= {"/penguin", state, f"{state}/lock", f"{state}/withdrawn"}
    copied = {name for name in given if "/staging/1." in name}
    assert len(copied) == 1 + sum(path.is_dir() for path in saved_model.rglob("*"))


def test_nothing_that_lay_there_is_given_away(
    tmp_path: Path, given: dict[str, tuple[int, int]]
) -> None:
    """The owner of the directory may have put a link to a file of root in the place of the lock."""
    state = tmp_path / "serving" / ".tfx_registry"
    lock_it = lambda: ServingDirectory.lock(tmp_path / "serving")  # noqa: E731
    with lock_it():
        pass
    (tmp_path / "secret").write_text("", encoding="utf-8")
    for content, links in (("of root", False), ("", True)):
        given.pop(str(state / "lock"), None)
        (state / "lock").unlink()
        if links:
            (state / "lock").hardlink_to(tmp_path / "secret")
        else:
            (state / "lock").write_text(content, encoding="utf-8")
        with lock_it():
            pass
        assert str(state / "lock") not in given


@pytest.mark.parametrize("replaced", ["staging", "staging/variables"])
def test_no_directory_of_root_gets_a_mode_or_an_owner_through_a_link(
    tmp_path: Path, given: dict[str, tuple[int, int]], monkeypatch: pytest.MonkeyPatch,
    replaced: str,
) -> None:  # fmt: skip
    """The owner may put a link in the place of what root has made, before root opens it."""
    secret, staging = tmp_path / "root" / "variables", tmp_path / "staging"
    secret.mkdir(parents=True, mode=0o700)
    secret.chmod(0o700)
    staging.mkdir()
    given[str(staging)] = given[str(tmp_path / "root")] = (1000, 100)
    made = os.mkdir

    def mkdir(path: Path, mode: int) -> None:
        made(path, mode)
        place = tmp_path / replaced
        place.rename(tmp_path / "away")
        place.symlink_to(secret.parent if place == staging else secret)

    monkeypatch.setattr("tfx_registry.syscalls.mkdir", mkdir)
    with pytest.raises(OSError, match=r"replaced while|Not a directory|Too many levels"):
        ownership.make_directory(staging / "variables", 0o755)
    assert secret.stat().st_mode & 0o777 == 0o700
    assert str(secret) not in given


def test_nothing_is_removed_behind_a_link_that_is_put_there_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root clears away what a publisher has left, in a directory of somebody else."""
    secret, staging = tmp_path / "root", tmp_path / "staging"
    for folder in (secret, staging / "copy", staging / "copy" / "variables"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").touch()
    opened = syscalls.open_file

    def open_file(path: syscalls.Path, *rest: int, **named: int) -> int:
        if os.fspath(path).endswith("variables"):
            (staging / "copy" / "variables").rename(tmp_path / "away")
            (staging / "copy" / "variables").symlink_to(secret)
        return opened(path, *rest, **named)

    monkeypatch.setattr(syscalls, "open_file", open_file)
    assert not remove_tree(staging)
    assert (secret / "file").exists()
    monkeypatch.undo()
    assert remove_tree(staging)
    assert remove_tree(staging), "it need not exist"
    assert not staging.exists()
    assert (secret / "file").exists()
    assert remove_tree(secret / "file")
    assert not (secret / "file").exists()


def test_what_somebody_works_in_already_is_left_as_it_is(
    tmp_path: Path, given: dict[str, tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = os.mkdir

    def mkdir(path: Path, mode: int) -> None:
        made(path, 0o700)
        (path / "lock").touch()

    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setattr("tfx_registry.syscalls.mkdir", mkdir)
    ownership.make_directory(own / "state", 0o755)
    assert (own / "state").stat().st_mode & 0o777 == 0o755
    ownership.make_directory(tmp_path / "foreign", 0o755)
    assert (tmp_path / "foreign").stat().st_mode & 0o777 == 0o700
    assert str(tmp_path / "foreign") not in given
    monkeypatch.setattr("tfx_registry.syscalls.mkdir", made)
    ownership.make_directory(tmp_path / "empty", 0o711)
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o711
    assert given.pop(str(tmp_path / "empty")) == (1000, 100)


def test_what_this_user_may_not_change_says_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1").mkdir()
    uid = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "1"))
    assert ownership.why_not(error) == (
        f"; {str(tmp_path / '1')!r} belongs to user {uid} and not to user {uid + 1}"
    )
    assert ownership.why_not(OSError(errno.EIO, "no", str(tmp_path))) == ""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert ownership.why_not(error) == ""
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    monkeypatch.setattr("tfx_registry.serving.shelf.rename_no_replace", _refuse)
    with pytest.raises(ServingDirectoryError, match=r"Permission denied.*belongs to user"):
        Shelf(tmp_path).restore(tmp_path / "2", "1")


def _refuse(source: Path, _: Path) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(source))
