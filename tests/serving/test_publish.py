"""Publishing: all of a version, or nothing."""

from __future__ import annotations

import collections
import importlib
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import syscalls
from tfx_registry.digest import DirectoryDigest, digest_path
from tfx_registry.errors import (
    IntegrityError,
    InvalidModelError,
    RefusedError,
    ServingDirectoryError,
)
from tfx_registry.serving import Published, ServingDirectory
from tfx_registry.serving import publish as publish_module
from tfx_registry.serving.atomic import rename_no_replace


@pytest.fixture(scope="module")
def digest(saved_model: Path) -> DirectoryDigest:
    return digest_path(saved_model)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "triple"


def publish(source: Path, base: Path, number: int, digest: DirectoryDigest) -> Published:
    with ServingDirectory.lock(base) as directory:
        return directory.publish(
            source, number, owner="triple", digest=digest.root, manifest=digest.manifest
        )


def _publish_first(directory: ServingDirectory, source: Path, digest: DirectoryDigest) -> Published:
    return directory.publish(
        source, 1, owner="triple", digest=digest.root, manifest=digest.manifest
    )


def visible(base: Path) -> list[str]:
    return sorted(child.name for child in base.iterdir() if child.name != ".tfx_registry")


def leftovers(base: Path) -> list[Path]:
    return [
        path for path in (base / ".tfx_registry").rglob("*") if path.name not in ("lock", "model")
    ]


def test_publish_copies_every_byte(saved_model: Path, base: Path, digest: DirectoryDigest) -> None:
    published = publish(saved_model, base, 1, digest)
    assert published == Published(base / "1", already_there=False)
    assert digest_path(base / "1") == digest
    assert visible(base) == ["1"]
    assert leftovers(base) == []


@pytest.fixture
def hub_load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """`tensorflow_hub.load`, of the release that TFX is tied to.

    Its loader works with the TensorFlow of today, and the package around it does not: that imports
    estimators, which are gone. So the modules are loaded without it.
    """
    found = importlib.util.find_spec("tensorflow_hub")
    assert found is not None
    assert found.submodule_search_locations is not None
    package = types.ModuleType("tensorflow_hub")
    package.__path__ = list(found.submodule_search_locations)
    monkeypatch.setitem(sys.modules, "tensorflow_hub", package)
    importlib.import_module("tensorflow_hub.config")._run()
    load: Callable[[str], Any] = importlib.import_module("tensorflow_hub.module_v2").load
    yield load
    for name in [name for name in sys.modules if name.startswith("tensorflow_hub.")]:
        del sys.modules[name]


def test_what_is_published_predicts_the_same_numbers(
    saved_model: Path, base: Path, digest: DirectoryDigest, hub_load: Callable[[str], Any]
) -> None:
    import tensorflow as tf

    publish(saved_model, base, 1, digest)
    x = tf.random.stateless_normal([50, 2], seed=[1, 2])
    expected = tf.saved_model.load(str(saved_model)).signatures["serving_default"](x=x)
    assert expected["y"].numpy().tolist() == (3 * x).numpy().tolist()
    for load in (tf.saved_model.load, hub_load):
        answer = load(str(base / "1")).signatures["serving_default"](x=x)
        assert {name: value.numpy().tolist() for name, value in answer.items()} == {
            name: value.numpy().tolist() for name, value in expected.items()
        }


def test_a_server_of_another_user_can_read_it(
    saved_model: Path, base: Path, digest: DirectoryDigest
) -> None:
    old = os.umask(0o077)
    try:
        publish(saved_model, base, 1, digest)
    finally:
        os.umask(old)
    for path in [base.parent, base, base / "1", *(base / "1").rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o755 if path.is_dir() else 0o644), path


def test_publishing_again_finds_it_there(
    saved_model: Path, base: Path, digest: DirectoryDigest
) -> None:
    publish(saved_model, base, 1, digest)
    inode = (base / "1").stat().st_ino
    assert publish(saved_model, base, 1, digest).already_there
    assert (base / "1").stat().st_ino == inode


@pytest.mark.parametrize("damage", ["byte", "rename", "extra file", "missing file"])
def test_other_bytes_that_are_there_stay_and_are_an_error(
    saved_model: Path, base: Path, digest: DirectoryDigest, damage: str
) -> None:
    publish(saved_model, base, 1, digest)
    asset = base / "1" / "assets" / "words.txt"
    if damage == "byte":
        asset.write_text("emu\n", encoding="utf-8")
    elif damage == "rename":
        asset.rename(asset.with_name("wordz.txt"))
    elif damage == "extra file":
        (base / "1" / "extra").write_text("x", encoding="utf-8")
    else:
        asset.unlink()
    before = digest_path(base / "1")
    with pytest.raises(IntegrityError, match="already lies at"):
        publish(saved_model, base, 1, digest)
    assert digest_path(base / "1") == before


@pytest.mark.parametrize("kind", ["file", "empty directory", "dangling link"])
def test_anything_in_the_way_is_left_alone(
    saved_model: Path, base: Path, digest: DirectoryDigest, kind: str
) -> None:
    base.mkdir(parents=True)
    target = base / "1"
    if kind == "file":
        target.write_text("mine", encoding="utf-8")
    elif kind == "empty directory":
        target.mkdir()
    else:
        target.symlink_to(base / "nowhere")
    with pytest.raises(IntegrityError):
        publish(saved_model, base, 1, digest)
    assert visible(base) == ["1"]
    assert target.is_symlink() == (kind == "dangling link")


def test_a_source_that_changed_is_not_published(
    saved_model: Path, base: Path, digest: DirectoryDigest, tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(saved_model, changed)
    (changed / "assets" / "words.txt").write_text("emu\n", encoding="utf-8")
    called: list[int] = []
    with (
        ServingDirectory.lock(base) as directory,
        pytest.raises(IntegrityError, match="has other bytes than the registered version"),
    ):
        directory.publish(
            changed,
            1,
            owner="triple",
            digest=digest.root,
            manifest=digest.manifest,
            before_visible=lambda: called.append(1),
        )
    assert called == []
    assert visible(base) == []
    assert leftovers(base) == []


def test_nothing_appears_when_the_last_check_refuses(
    saved_model: Path, base: Path, digest: DirectoryDigest
) -> None:
    def refuse() -> None:
        assert visible(base) == []
        raise RefusedError("no")

    with ServingDirectory.lock(base) as directory, pytest.raises(RefusedError):
        directory.publish(
            saved_model,
            1,
            owner="triple",
            digest=digest.root,
            manifest=digest.manifest,
            before_visible=refuse,
        )
    assert visible(base) == []
    assert leftovers(base) == []


def test_what_is_no_saved_model_is_not_published(plain_model: Path, base: Path) -> None:
    with pytest.raises(InvalidModelError, match="not a SavedModel"):
        publish(plain_model, base, 1, digest_path(plain_model))
    assert visible(base) == []


def test_an_older_version_is_not_published_below_a_newer_one(
    saved_model: Path, base: Path, digest: DirectoryDigest
) -> None:
    (base / "1700000000").mkdir(parents=True)
    with pytest.raises(RefusedError, match="newer version 1700000000"):
        publish(saved_model, base, 1, digest)
    assert visible(base) == ["1700000000"]


@pytest.mark.parametrize("newer", [2, 3, 1700000000])
def test_an_older_version_that_is_there_already_is_not_taken_for_serving(
    saved_model: Path, base: Path, digest: DirectoryDigest, newer: int
) -> None:
    publish(saved_model, base, 1, digest)
    publish(saved_model, base, newer, digest)
    with pytest.raises(RefusedError, match=f"newer version {newer}"):
        publish(saved_model, base, 1, digest)


@pytest.mark.parametrize("name", ["01", "+1", "1 "])
def test_another_name_of_the_same_number_is_refused(
    saved_model: Path, base: Path, digest: DirectoryDigest, name: str
) -> None:
    (base / name).mkdir(parents=True)
    with pytest.raises(RefusedError, match="takes for the same version"):
        publish(saved_model, base, 1, digest)
    assert visible(base) == [name]


def test_a_link_is_not_taken_for_a_version(
    saved_model: Path, base: Path, digest: DirectoryDigest
) -> None:
    base.mkdir(parents=True)
    (base / "1").symlink_to(saved_model)
    with pytest.raises(IntegrityError, match="symbolic link"):
        publish(saved_model, base, 1, digest)


def test_a_directory_is_for_one_model(
    saved_model: Path, base: Path, digest: DirectoryDigest
) -> None:
    publish(saved_model, base, 1, digest)
    with (
        ServingDirectory.lock(base) as directory,
        pytest.raises(RefusedError, match="is for the model 'triple'"),
    ):
        directory.publish(
            saved_model, 2, owner="other", digest=digest.root, manifest=digest.manifest
        )
    assert visible(base) == ["1"]


def test_two_names_of_one_directory_are_one(saved_model: Path, base: Path, tmp_path: Path) -> None:
    base.mkdir(parents=True)
    (tmp_path / "link").symlink_to(base)
    with ServingDirectory.lock(tmp_path / "link") as directory:
        assert directory.base == base


def test_a_base_inside_the_model_is_refused(
    saved_model: Path, tmp_path: Path, digest: DirectoryDigest
) -> None:
    model = tmp_path / "model"
    shutil.copytree(saved_model, model)
    with pytest.raises(InvalidModelError, match="lies inside it"):
        publish(model, model / "serving", 1, digest)


def test_variables_without_an_index_are_refused(
    saved_model: Path, base: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(saved_model, model)
    (model / "variables" / "variables.index").unlink()
    with pytest.raises(InvalidModelError, match="uninitialised"):
        publish(model, base, 1, digest_path(model))


def test_a_source_that_is_gone_is_named_so(base: Path, digest: DirectoryDigest) -> None:
    with pytest.raises(InvalidModelError, match="is not there"):
        publish(Path("/nowhere"), base, 1, digest)


def test_the_rename_is_made_durable_after_it_happened(
    saved_model: Path, base: Path, digest: DirectoryDigest, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, bool]] = []
    original = publish_module.fsync_directory

    def note(path: Path) -> None:
        synced.append((path, (base / "1").exists()))
        original(path)

    monkeypatch.setattr(publish_module, "fsync_directory", note)
    publish(saved_model, base, 1, digest)
    assert synced[-1] == (base, True)
    assert all(not there for _, there in synced[:-1])
    synced.clear()
    publish(saved_model, base, 1, digest)
    assert synced == [(base, True)]


@pytest.mark.parametrize(
    ("field", "free", "message"),
    [("f_bavail", 1, "4096 are free"), ("f_favail", 3, "inodes, and 3 are free")],
)
def test_a_full_disk_is_noticed_before_the_copy(
    saved_model: Path,
    base: Path,
    digest: DirectoryDigest,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    free: int,
    message: str,
) -> None:
    names = "f_bsize f_frsize f_bavail f_files f_favail f_namemax"
    Space = collections.namedtuple("Space", names)
    space = Space(4096, 4096, 10**6, 10**6, 10**6, 255)._replace(**{field: free})
    monkeypatch.setattr(syscalls, "statvfs", lambda _: space)
    with pytest.raises(ServingDirectoryError, match=message):
        publish(saved_model, base, 1, digest)
    assert visible(base) == []
    assert leftovers(base) == []


def test_what_a_dead_publisher_left_is_removed(
    saved_model: Path, base: Path, digest: DirectoryDigest
) -> None:
    left = base / ".tfx_registry" / "staging" / "9.dead.tmp"
    left.mkdir(parents=True)
    (left / "saved_model.pb").write_text("half", encoding="utf-8")
    publish(saved_model, base, 1, digest)
    assert leftovers(base) == []


def test_an_unwritable_directory_is_named(base: Path) -> None:
    base.mkdir(parents=True)
    base.chmod(0o555)
    # root may write anywhere, so the child becomes nobody, once everything is imported.
    script = (
        "import os, sys\n"
        "from tfx_registry.serving import ServingDirectory\n"
        "from tfx_registry.errors import ServingDirectoryError\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try:\n"
        "    with ServingDirectory.lock(sys.argv[1]): print('locked')\n"
        "except ServingDirectoryError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(base)], capture_output=True, text=True, check=False
    )
    assert "is not writable" in done.stdout, done.stdout + done.stderr
    assert visible(base) == []


def test_rename_never_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for platform in (sys.platform, "elsewhere"):
        monkeypatch.setattr(sys, "platform", platform)
        source, target = tmp_path / f"{platform}-a", tmp_path / f"{platform}-b"
        source.mkdir()
        (source / "x").write_text("new", encoding="utf-8")
        target.mkdir()
        with pytest.raises(FileExistsError):
            rename_no_replace(source, target)
        assert (source / "x").exists()
        target.rmdir()
        rename_no_replace(source, target)
        assert (target / "x").read_text(encoding="utf-8") == "new"
