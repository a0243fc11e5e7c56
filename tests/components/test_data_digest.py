"""The digest of examples and other sources, on a disk or in an object store."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tfx.types import artifact_utils, standard_artifacts

from tfx_registry.components import data_digest
from tfx_registry.components.data_digest import LISTING, combined, digest_of_files
from tfx_registry.components.version_gate.data_identity import identify
from tfx_registry.digest import digest_path
from tfx_registry.gate import DataSource
from tfx_registry.serving.objects.models import upload_tree, write_files
from tfx_registry.testing.object_stores import Fault, ObjectStoreServer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "examples"
    for split, text in (("train", b"many examples"), ("eval", b"few examples")):
        (made / f"Split-{split}").mkdir(parents=True)
        (made / f"Split-{split}" / "data_tfrecord-00000-of-00002.gz").write_bytes(text)
        (made / f"Split-{split}" / "data_tfrecord-00001-of-00002.gz").write_bytes(b"more")
    return made


@pytest.fixture
def place(server: ObjectStoreServer, folder: Path, request: pytest.FixtureRequest) -> str:
    """The same examples in a store; each test has its own."""
    uri = f"{server.scheme}://pipelines/{request.node.originalname}"
    upload_tree(folder, uri)
    return uri


def contents_read(server: ObjectStoreServer) -> int:
    """Counts how often a file of examples was downloaded, in whole or in part."""
    return sum(
        method == "GET"
        and "data_tfrecord" in target
        and ("alt=media" in target or server.scheme == "s3")
        for method, target in server.faults.requests
    )


def examples_at(uri: str) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri = uri
    examples.split_names = artifact_utils.encode_split_names(["train", "eval"])
    return examples


def test_a_copy_in_a_store_has_the_digest_of_the_files_on_a_disk(
    server: ObjectStoreServer, folder: Path, place: str
) -> None:
    assert digest_of_files(str(folder)) == digest_path(folder).root
    assert digest_of_files(place) == digest_path(folder).root
    here, there = (
        identify([examples_at(uri)], ["train", "eval"], DataSource.GIVEN)
        for uri in (str(folder), place)
    )
    assert here.digest
    assert there.digest == here.digest
    assert there.location == place


def test_it_follows_the_bytes_and_is_computed_once(server: ObjectStoreServer, place: str) -> None:
    before = digest_of_files(f"{place}/Split-eval")
    assert contents_read(server) == 2
    assert digest_of_files(f"{place}/Split-eval") == before
    assert contents_read(server) == 2
    write_files(f"{place}/Split-eval", {"data_tfrecord-00001-of-00002.gz": b"else"})
    assert digest_of_files(f"{place}/Split-eval") not in ("", before)


def test_bytes_that_change_while_they_are_read_have_none(
    server: ObjectStoreServer, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest_of = data_digest.digest_source

    def written_meanwhile(path: str, *, max_bytes: int) -> str:
        write_files(place, {"one more": b"rows"})
        return digest_of(path, max_bytes=max_bytes)

    monkeypatch.setattr(data_digest, "digest_source", written_meanwhile)
    assert digest_of_files(place) == ""
    assert digest_of_files(place) != ""  # the same is written again, and nothing is remembered


def test_of_too_much_to_read_there_is_a_digest_of_the_list(
    server: ObjectStoreServer, folder: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    monkeypatch.setattr(data_digest, "MAX_BYTES", size)
    assert digest_of_files(place) == digest_path(folder).root
    monkeypatch.setattr(data_digest, "MAX_BYTES", size - 1)
    server.faults.requests.clear()
    before = digest_of_files(place)
    assert before.startswith(LISTING)
    assert digest_of_files(place) == before
    assert contents_read(server) == 0
    # Both stores tell checksums of small objects, so a copy elsewhere has the same.
    upload_tree(folder, f"{place}-copy")
    assert digest_of_files(f"{place}-copy") == before
    # The same name and size, other bytes; then another name.
    write_files(f"{place}/Split-eval", {"data_tfrecord-00001-of-00002.gz": b"else"})
    changed = digest_of_files(place)
    assert changed != before
    write_files(place, {"one more": b""})
    assert digest_of_files(place) not in (before, changed)
    assert digest_of_files(str(folder)) == ""
    both = identify([examples_at(place)], ["train", "eval"], DataSource.GIVEN)
    assert not both.digest.startswith(LISTING)  # each split alone is small enough


@pytest.mark.parametrize("fault", ["403", "gone", "scheme"])
def test_what_is_out_of_reach_has_none_and_says_so(
    server: ObjectStoreServer, place: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    if fault == "403":
        server.faults.planned.append(Fault("403", times=-1))
    uri = {"gone": f"{place}-gone", "scheme": "minio://pipelines/examples"}.get(fault, place)
    with caplog.at_level(logging.WARNING):
        assert digest_of_files(uri) == ""
    assert (uri in caplog.text) == (fault != "gone")
    assert identify([examples_at(uri)], ["eval"], DataSource.LINEAGE).digest == ""


@pytest.mark.parametrize(
    ("digests", "begins"),
    [([], None), (["a", ""], None), (["a"], "a"), ([f"{LISTING}a"], f"{LISTING}a")],
)
def test_digests_are_joined_if_all_are_known(digests: list[str], begins: str | None) -> None:
    assert combined(digests) == (begins or "")


def test_what_is_joined_tells_order_and_kind() -> None:
    assert combined(["a", "b"]) != combined(["b", "a"])
    assert not combined(["a", "b"]).startswith(LISTING)
    assert combined(["a", f"{LISTING}b"]).startswith(LISTING)
