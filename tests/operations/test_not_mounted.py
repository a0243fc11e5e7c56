"""A serving directory that is suddenly empty may be a volume that is not mounted."""

from __future__ import annotations

import contextlib
import shutil

import pytest

from tfx_registry import Retention, promote, prune, reconcile, rollback
from tfx_registry.errors import RefusedError, ServingDirectoryError
from tfx_registry.operations import Servers, promote_by_config
from tfx_registry.serving import ServingDirectory

MODEL = "penguin"


@pytest.mark.parametrize("mount_point_left", [True, False])
def test_nothing_is_published_where_all_that_serves_is_gone(served, mount_point_left) -> None:
    served.register()
    served.decide(4)
    away = served.base.rename(served.folder.parent / "away")
    if mount_point_left:
        served.base.mkdir()
    before = served.kinds()
    for number in (3, 4):
        with pytest.raises(ServingDirectoryError, match=r"version 3 .*should serve there.*mount"):
            promote(served.registry, MODEL, number, served.base)
    assert served.kinds() == before
    assert served.base.exists() == mount_point_left
    assert served.visible() == []
    if mount_point_left:
        served.base.rmdir()
    away.rename(served.base)
    assert promote(served.registry, MODEL, 4, served.base).replaces == 3
    assert served.visible() == [1, 2, 3, 4]


@pytest.mark.parametrize("mount_point_left", [True, False])
@pytest.mark.parametrize("by_config", [True, False])
def test_nothing_is_rolled_back_there_either(served, by_config, mount_point_left) -> None:
    """A copy of the older version would be seen by no server, and the alias would have moved."""
    config, servers = served.folder / "models.config", Servers(no_wait=True)
    served.register()
    served.decide(4)
    if by_config:
        for _ in range(2):  # servers that load the latest are told to stay with 3 first
            with contextlib.suppress(RefusedError):
                promote_by_config(served.registry, MODEL, 3, served.base, config, servers=servers)
        assert served.registry.deployment(MODEL, str(served.base)).config is not None
    away = served.base.rename(served.folder.parent / "away")
    if mount_point_left:
        served.base.mkdir()
    before = served.kinds()
    match = r"version 3 .*should serve there.*mount"
    for to in (None, 1):
        with pytest.raises(ServingDirectoryError, match=f"cannot roll back .*{match}"):
            rollback(
                served.registry, MODEL, served.base, to, reason="x",
                servers=servers if by_config else None,
            )  # fmt: skip
    if by_config:
        with pytest.raises(ServingDirectoryError, match=match):
            promote_by_config(served.registry, MODEL, 4, served.base, config, servers=servers)
    assert served.kinds() == before
    assert served.base.exists() == mount_point_left
    assert served.visible() == []
    if mount_point_left:
        served.base.rmdir()
    away.rename(served.base)
    for _ in range(2):
        with contextlib.suppress(RefusedError):
            rollback(
                served.registry, MODEL, served.base, 2, reason="x",
                servers=servers if by_config else None,
            )  # fmt: skip
    assert served.serving() == 2


@pytest.mark.parametrize("left", ["mount point", "mount point above", "nothing", "after a wait"])
def test_nothing_is_brought_back_where_a_volume_may_not_be_mounted(served, left) -> None:
    """A job that reconciles every night would fill the mount point."""
    volume = served.base.parent if left == "mount point above" else served.base
    if left == "nothing":  # a container that was not given it
        volume = served.base.parent
    away = volume.rename(served.folder.parent / "away")
    if left != "nothing":
        volume.mkdir()
    if left == "after a wait":  # such as of 'tfx-registry abort'
        with ServingDirectory.lock(served.base):
            pass
    before, found = served.kinds(), sorted(volume.rglob("*"))
    for _ in range(2):
        with pytest.raises(ServingDirectoryError, match=r"version 3 .*should serve there.*mount"):
            reconcile(served.registry, served.base, MODEL)
        with pytest.raises(ServingDirectoryError, match=r"cannot remove versions from .*mount"):
            prune(served.registry, MODEL, served.base, Retention(1), dry_run=False)
        with pytest.raises(ServingDirectoryError, match=r"mount.*reconcile --restore"):
            promote(served.registry, MODEL, 3, served.base)
    assert (served.kinds(), sorted(volume.rglob("*"))) == (before, found)
    if left != "nothing":
        shutil.rmtree(volume)
    away.rename(volume)
    done = reconcile(served.registry, served.base)
    assert (done.actions, done.problems) == ((), ())


@pytest.mark.parametrize("left", ["the directory", "its parent", "nothing"])
def test_what_is_lost_is_brought_back_on_request(served, left) -> None:
    served.register()
    served.decide(4)
    shutil.rmtree(served.base.parent)
    if left != "nothing":
        (served.base if left == "the directory" else served.base.parent).mkdir(parents=True)
    done = reconcile(served.registry, served.base, MODEL, restore=True)
    assert (done.serving, done.problems) == (3, ())
    assert served.visible() == [3]
    assert reconcile(served.registry, served.base).actions == ()
    promote(served.registry, MODEL, 4, served.base)
    assert served.visible() == [3, 4]


def test_a_directory_that_is_gone_beside_others_was_removed(served) -> None:
    (served.base.parent / "gull").mkdir()
    shutil.rmtree(served.base)
    assert reconcile(served.registry, served.base, MODEL).serving == 3
    assert served.visible() == [3]


def test_a_directory_that_is_lost_goes_on_after_reconcile(served) -> None:
    served.register()
    served.decide(4)
    shutil.rmtree(served.base)
    reconcile(served.registry, served.base, restore=True)
    promote(served.registry, MODEL, 4, served.base)
    assert served.visible() == [3, 4]


def test_a_directory_that_is_lost_with_all_bytes_goes_on_after_reconcile(served) -> None:
    served.register()
    served.decide(4)
    shutil.rmtree(served.base)
    for number in (1, 2, 3):
        shutil.rmtree(served.folder / f"model{number}")
    found = reconcile(served.registry, served.base, restore=True)
    assert "no known place has its bytes" in found.problems[0]
    promote(served.registry, MODEL, 4, served.base)
    assert served.visible() == [4]


def test_another_directory_is_not_asked_for(served) -> None:
    elsewhere = served.base.parent / "elsewhere"
    promote(served.registry, MODEL, 3, elsewhere)
    assert served.visible(elsewhere) == [3]
