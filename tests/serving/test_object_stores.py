"""Buckets of S3 and Google Cloud Storage, and what is built on them: one contract for each."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tfx_registry.digest import digest_path
from tfx_registry.errors import (
    ConflictError,
    IntegrityError,
    InvalidInputError,
    InvalidModelError,
    InvalidUriError,
    ServingDirectoryError,
    StoreUnavailableError,
)
from tfx_registry.serving.objects import ObjectOptions, ObjectUrl, hold_directory, is_object_url
from tfx_registry.serving.objects.bucket import Bucket, open_bucket
from tfx_registry.serving.objects.lease import hold_lease
from tfx_registry.serving.objects.models import fetched_model
from tfx_registry.serving.objects.options import Verify
from tfx_registry.testing.memory_bucket import MemoryBucket
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.object_stores import (
    Fault,
    GcsServer,
    ObjectStoreServer,
    S3Server,
)

FAST = ObjectOptions(part_bytes=5 << 20, attempts=4, backoff_seconds=0.01, lease_seconds=60)


@pytest.fixture(scope="module")
def running_s3() -> Iterator[ObjectStoreServer]:
    with S3Server() as server:
        server.make_bucket("models")
        yield server


@pytest.fixture(scope="module")
def running_gcs() -> Iterator[ObjectStoreServer]:
    with GcsServer() as server:
        server.make_bucket("models")
        yield server


@pytest.fixture(scope="module", params=["running_s3", "running_gcs"], ids=["s3", "gcs"])
def running(request: pytest.FixtureRequest) -> ObjectStoreServer:
    found: ObjectStoreServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def server(running: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> ObjectStoreServer:
    return _use(running, monkeypatch)


@pytest.fixture
def s3(running_s3: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> ObjectStoreServer:
    return _use(running_s3, monkeypatch)


def _use(server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> ObjectStoreServer:
    server.faults.clear()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


def url_of(server: ObjectStoreServer, name: str) -> ObjectUrl:
    return ObjectUrl.parse(f"{server.scheme}://models/{name}")


def open_fast(server: ObjectStoreServer, name: str, **options: Any) -> Bucket:
    return open_bucket(url_of(server, name), dataclasses.replace(FAST, **options))


# The contract of a bucket.


def test_a_bucket_keeps_its_contract(server: ObjectStoreServer, tmp_path: Path) -> None:
    bucket = open_fast(server, "contract")
    assert bucket.create("c/a", b"one")
    assert not bucket.create("c/a", b"two"), "an object is made once"
    found = bucket.look("c/a")
    assert found is not None
    assert found[0] == b"one"
    tag = bucket.swap("c/a", b"three", found[1])
    assert tag is not None
    assert bucket.swap("c/a", b"four", found[1]) is None, "somebody was faster"
    assert bucket.read("c/a") == b"three"
    assert bucket.read("c/nothing") is None
    bucket.create("c/d/e", b"")
    bucket.create("c/d e+%&ü/f", b"f")
    bucket.create("cd", b"")
    assert [o.key for o in bucket.objects("c/")] == ["c/a", "c/d e+%&ü/f", "c/d/e"]
    assert bucket.children("c/") == ["a", "d", "d e+%&ü"]
    assert bucket.children("nowhere/") == []
    assert bucket.objects("c/a")[0].md5 == hashlib.md5(b"three").hexdigest()
    bucket.copy("c/d e+%&ü/f", "c/g", 1)
    assert bucket.read("c/g") == b"f"
    bucket.delete(["c/a", "c/d/e", "c/g", "c/never there"])
    assert [o.key for o in bucket.objects("c/")] == ["c/d e+%&ü/f"]


def test_a_large_file_goes_up_in_parts_and_comes_back_the_same(
    server: ObjectStoreServer, tmp_path: Path
) -> None:
    bucket = open_fast(server, "large")
    data = bytes(range(256)) * (11 << 12)  # 11 MiB: three parts
    (tmp_path / "file").write_bytes(data)
    sent: list[int] = []
    bucket.upload("l/file", tmp_path / "file", sent.append)
    (stored,) = bucket.objects("l/")
    assert stored.size_bytes == sum(sent) == len(data)
    assert b"".join(bucket.blocks(stored)) == data
    parts = [t for m, t in server.faults.requests if "partNumber=" in t or "upload_id=" in t]
    assert len(parts) >= 3
    bucket.copy("l/file", "l/copy", len(data))
    assert bucket.objects("l/copy")[0].size_bytes == len(data)


def test_no_second_s3_shares_the_objects_of_the_first(s3: ObjectStoreServer) -> None:
    open_fast(s3, "first").create("first/a", b"x")
    with pytest.raises(RuntimeError, match="another S3Server runs"), S3Server():
        pass
    assert open_fast(s3, "first").read("first/a") == b"x"


def test_an_upload_in_parts_that_fails_leaves_nothing(
    s3: ObjectStoreServer, tmp_path: Path
) -> None:
    bucket = open_fast(s3, "parts", attempts=1)
    (tmp_path / "file").write_bytes(bytes(11 << 20))
    s3.faults.planned[:] = [Fault("500", "PUT", "partNumber=2", times=-1)]
    with pytest.raises(StoreUnavailableError, match="on purpose"):
        bucket.upload("p/file", tmp_path / "file", lambda _: None)
    s3.faults.clear()
    assert bucket.objects("p/") == []
    assert bucket.abort_uploads("p/") == 0, "the upload was ended"
    # What a process that was killed has left is ended by whoever comes next.
    bucket._call("create_multipart_upload", Key="p/file")  # type: ignore[attr-defined]
    assert bucket.abort_uploads("p/") == 1
    assert bucket.abort_uploads("p/") == 0


@pytest.mark.parametrize("kind", ["503", "500", "429", "reset", "lost answer"])
def test_what_passes_is_tried_again(s3: ObjectStoreServer, tmp_path: Path, kind: str) -> None:
    bucket = open_fast(s3, "again")
    (tmp_path / "file").write_bytes(bytes(11 << 20))
    name = kind.replace(" ", "")
    for contains in (f"a/{name}", "partNumber=2", "uploadId="):
        s3.faults.planned.append(Fault(kind, contains=contains, times=2))
    bucket.create(f"a/{name}", b"x")  # where an answer was lost, it says that it was there
    assert bucket.read(f"a/{name}") == b"x"
    bucket.upload(f"a/{name}.large", tmp_path / "file", lambda _: None)
    assert bucket.objects(f"a/{name}.large")[0].size_bytes == 11 << 20
    assert not any(fault.times for fault in s3.faults.planned)


def test_gcs_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with GcsServer() as server:
        _use(server, monkeypatch)
        server.make_bucket("models")
        bucket = open_fast(server, "again")
        server.faults.planned[:] = [Fault("503", "POST"), Fault("reset", "GET")]
        assert bucket.create("a/b", b"x")
        assert bucket.read("a/b") == b"x"
        assert not any(fault.times for fault in server.faults.planned)


def test_what_does_not_pass_is_said_clearly(
    server: ObjectStoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = open_fast(server, "denied")
    caplog.set_level(logging.CRITICAL, "gcsfs")
    server.faults.planned[:] = [Fault("403")]
    with pytest.raises(ServingDirectoryError, match=r"access is denied .* let this user list"):
        bucket.objects("x/")
    server.faults.clear()
    elsewhere = open_bucket(ObjectUrl.parse(f"{server.scheme}://nobucket/x"), FAST)
    with pytest.raises(ServingDirectoryError, match="no such bucket"):
        elsewhere.objects("x/")
    with pytest.raises(ServingDirectoryError, match="no such bucket"):
        elsewhere.create("x/y", b"x")


def test_a_store_that_is_gone_is_unavailable(s3: ObjectStoreServer) -> None:
    bucket = open_fast(s3, "gone")
    s3.faults.planned[:] = [Fault("503", times=-1)]
    begun = len(s3.faults.requests)
    with pytest.raises(StoreUnavailableError, match="repeat once it does"):
        bucket.objects("x/")
    assert len(s3.faults.requests) - begun == FAST.attempts
    s3.faults.clear()


# The lease.


def memory(seconds: float = 0.5) -> MemoryBucket:
    url = ObjectUrl.parse("s3://models/base")
    return MemoryBucket(url, dataclasses.replace(FAST, lease_seconds=seconds))


def test_two_publishers_take_turns(server: ObjectStoreServer) -> None:
    inside: list[str] = []
    trace: list[int] = []

    def work(name: str) -> None:
        bucket = open_fast(server, "turns", lease_seconds=30)
        with hold_lease(bucket, "turns/lock") as lease:
            inside.append(name)
            trace.append(len(inside))
            lease.check()
            inside.remove(name)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert trace == [1, 1, 1]


def test_a_lease_outlives_its_length_while_its_holder_lives() -> None:
    bucket = memory()
    with hold_lease(bucket, "lock") as lease:
        tag = bucket.contents["lock"][1]
        deadline = time.monotonic() + 30
        while int(bucket.contents["lock"][1]) < int(tag) + 6 and time.monotonic() < deadline:
            time.sleep(0.05)
        lease.check()


def test_the_lease_of_a_dead_publisher_is_taken_over_and_the_late_one_stops() -> None:
    bucket = memory()
    with hold_lease(bucket, "lock") as late:
        swap = bucket._swap
        dead = threading.get_ident()
        # Its signs of life do not arrive any more.
        bucket._swap = (  # type: ignore[method-assign]
            lambda key, data, tag: swap(key, data, tag) if threading.get_ident() == dead else None
        )
        with hold_lease(bucket, "lock") as next_one:
            next_one.check()
            with pytest.raises(ConflictError, match="no sign of life"):
                late.check()


def test_a_store_that_ignores_conditions_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(MemoryBucket, "_create", lambda self, k, d: bool(self._put(k, d)))
    bucket = memory()
    with (
        pytest.raises(ServingDirectoryError, match="ignores the condition"),
        hold_lease(bucket, "lock"),
    ):
        pass
    assert bucket.contents == {}


def test_the_emulator_alone_would_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """gcp-storage-emulator does not know ifGenerationMatch; the test server adds it."""
    with GcsServer() as server:
        _use(server, monkeypatch)
        server.make_bucket("models")
        handler = server._server.RequestHandlerClass.func
        monkeypatch.setattr(handler, "condition_holds", lambda self: True)
        bucket = open_fast(server, "alone")
        with (
            pytest.raises(ServingDirectoryError, match="ignores the condition"),
            hold_lease(bucket, "alone/lock"),
        ):
            pass


# Publishing.


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = write_minimal_model(tmp_path / "model", "hello")
    (path / "variables").mkdir()
    (path / "variables" / "variables.index").write_bytes(b"")
    (path / "variables" / "variables.index").unlink()
    (path / "assets").mkdir()
    (path / "assets" / "words with spaces.txt").write_text("auk\n", encoding="utf-8")
    (path / "assets" / "same.txt").write_text("auk\n", encoding="utf-8")
    (path / "assets" / "empty").touch()
    return path


def test_what_is_published_is_byte_identical_and_the_graph_comes_last(
    server: ObjectStoreServer, model: Path, tmp_path: Path
) -> None:
    url, digest = url_of(server, "whole/penguin"), digest_path(model)
    with hold_directory(url, FAST) as directory:
        record = directory.store(model, 3, digest=digest.root, manifest=digest.manifest)
        assert directory.visible() == {}, "nothing is visible before"
        assert directory.show(3, record)
        assert not directory.show(3, record), "once is enough"
        directory.fetch(3, record, tmp_path / "blobs")
    assert digest_path(tmp_path / "blobs") == digest
    with fetched_model(f"{url}/3", FAST) as local:
        assert digest_path(local) == digest
    writes = [t for m, t in server.faults.requests if m in ("PUT", "POST") and "/3/" in t]
    assert "saved_model.pb" in writes[-1]
    assert not any("saved_model.pb" in target for target in writes[:-1])
    assert directory.visible() == {3: ["3"]}


def test_equal_contents_are_uploaded_once(s3: ObjectStoreServer, model: Path) -> None:
    url, digest = url_of(s3, "once/penguin"), digest_path(model)
    with hold_directory(url, FAST) as directory:
        directory.store(model, 1, digest=digest.root, manifest=digest.manifest)
        before = len(directory.bucket.objects("once/penguin/.tfx_registry/blobs/"))
        assert before == len(digest.files) - 1, "two files have the same content"
        s3.faults.requests.clear()
        directory.store(model, 2, digest=digest.root, manifest=digest.manifest)
    assert not [t for m, t in s3.faults.requests if m == "PUT" and "/blobs/" in t]


@pytest.mark.parametrize("verify", list(Verify))
def test_damage_on_the_way_is_noticed_before_anything_is_visible(
    model: Path, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, digest = memory(), digest_path(model)
    bucket.options = dataclasses.replace(FAST, verify=verify)
    monkeypatch.setattr("tfx_registry.serving.objects.directory.open_bucket", lambda *_: bucket)
    put = bucket._put
    bucket._put = (
        lambda key, data: put(  # type: ignore[method-assign]
            key, data[:-1] + b"!" if "/blobs/" in key and data.startswith(b"hello") else data
        )
    )
    with hold_directory(bucket.url) as directory:
        with pytest.raises(IntegrityError, match=r"note\.txt.*damaged on the way"):
            directory.store(model, 1, digest=digest.root, manifest=digest.manifest)
        assert directory.visible() == {}
        bucket._put = put  # type: ignore[method-assign]
        record = directory.store(model, 1, digest=digest.root, manifest=digest.manifest)
        assert directory.show(1, record)


def test_damage_in_a_copy_is_noticed_before_the_graph_comes(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, digest = memory(), digest_path(model)
    monkeypatch.setattr("tfx_registry.serving.objects.directory.open_bucket", lambda *_: bucket)
    with hold_directory(bucket.url) as directory:
        record = directory.store(model, 1, digest=digest.root, manifest=digest.manifest)
        put = bucket._put
        bucket._put = lambda key, data: put(  # type: ignore[method-assign]
            key, b"other" if key.endswith("1/assets/same.txt") else data
        )
        with pytest.raises(IntegrityError, match=r"'assets/same\.txt' has other bytes"):
            directory.show(1, record)
    assert "base/1/saved_model.pb" not in bucket.contents


def test_a_version_goes_graph_first_and_index_last(
    saved_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that loads it at that moment meets an error, never a model without its weights."""
    bucket, digest = memory(), digest_path(saved_model)
    monkeypatch.setattr("tfx_registry.serving.objects.directory.open_bucket", lambda *_: bucket)
    with hold_directory(bucket.url) as directory:
        record = directory.store(saved_model, 1, digest=digest.root, manifest=digest.manifest)
        directory.show(1, record)
        bucket.changes.clear()
        directory.hide("1", record)
    gone = [key for what, key in bucket.changes if what == "delete"]
    assert gone[0] == "base/1/saved_model.pb"
    assert gone[-1] == "base/1/variables/variables.index"
    assert len(gone) == len(digest.files)
    assert not [key for what, key in bucket.changes if what == "copy"], "the bytes lie here already"


def test_what_others_put_under_the_number_stays_and_is_an_error(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, digest = memory(), digest_path(model)
    monkeypatch.setattr("tfx_registry.serving.objects.directory.open_bucket", lambda *_: bucket)
    bucket._put("base/1/notes.md", b"mine")
    with hold_directory(bucket.url) as directory:
        record = directory.store(model, 1, digest=digest.root, manifest=digest.manifest)
        with pytest.raises(IntegrityError, match=r"'notes\.md' lies there already"):
            directory.show(1, record)
        bucket._put("base/1/saved_model.pb", b"mine, too")
        with pytest.raises(IntegrityError, match="something else is there"):
            directory.show(1, record)
        directory.hide("1", None)
    kept = {key: data for key, (data, _) in bucket.contents.items() if "/withdrawn/" in key}
    assert sorted(kept.values()) == [b"mine", b"mine, too"]


# Models that lie in a store.


@pytest.mark.parametrize("key", ["m/../x", "m//x", "m/./x"])
def test_a_key_that_leads_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    bucket = memory()
    monkeypatch.setattr("tfx_registry.serving.objects.models.open_bucket", lambda *_: bucket)
    with pytest.raises(InvalidModelError, match="nothing lies there"), fetched_model("s3://b1/m"):
        pass
    bucket.create(key, b"")
    with pytest.raises(InvalidModelError, match="no relative path"), fetched_model("s3://b1/m"):
        pass


# Addresses, options, and what is not installed.


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("s3://b-1/models/penguin/", "s3://b-1/models/penguin"),
        ("gcs://bucket/m", "gs://bucket/m"),
        ("S3A://bucket/m//", "s3://bucket/m"),
    ],
)
def test_an_address_has_one_spelling(text: str, parsed: str) -> None:
    assert str(ObjectUrl.parse(text)) == parsed
    assert ObjectUrl.parse(parsed) == ObjectUrl.parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("s3://bucket", "a whole bucket"),
        ("s3:///models", "no name of a bucket"),
        ("s3://bucket/a//b", "empty part"),
        ("s3://bucket/../b", "empty part, '.'"),
        ("hdfs://host/models", r"not hdfs://"),
        ("s3://bucket/a?versionId=3", "different ways"),
        ("gs://bucket/" + "x" * 600, "longer than"),
    ],
)
def test_what_is_no_address_is_refused(text: str, why: str) -> None:
    assert is_object_url(text)
    with pytest.raises(InvalidUriError, match=why):
        ObjectUrl.parse(text)


def test_paths_are_no_addresses() -> None:
    assert not is_object_url("/srv/penguin")
    assert not is_object_url(Path("s3:/x"))
    assert not is_object_url("file:///srv/penguin")


def test_options_come_from_the_environment() -> None:
    variables = {
        "TFX_REGISTRY_OBJECTS_VERIFY": "checksum", "TFX_REGISTRY_OBJECTS_PARALLEL": "3",
        "TFX_REGISTRY_OBJECTS_LEASE_SECONDS": "1.5",
    }  # fmt: skip
    options = ObjectOptions.from_environment(variables)
    assert (options.verify, options.parallel, options.lease_seconds) == (Verify.CHECKSUM, 3, 1.5)
    for name, value in [
        ("PARALLEL", "0"),
        ("VERIFY", "no"),
        ("PART_BYTES", "1"),
        ("ATTEMPTS", "x"),
    ]:
        with pytest.raises(InvalidInputError, match="invalid"):
            ObjectOptions.from_environment({f"TFX_REGISTRY_OBJECTS_{name}": value})


@pytest.mark.parametrize(("scheme", "module"), [("s3", "s3"), ("gs", "gcs")])
def test_a_missing_client_is_named(
    monkeypatch: pytest.MonkeyPatch, scheme: str, module: str
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in ("s3fs", "gcsfs"):
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, f"tfx_registry.serving.objects.{module}", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InvalidInputError, match=r"pip install tfx-registry\[object-stores\]"):
        open_bucket(ObjectUrl(scheme, "bucket", "m"), FAST)


def test_the_record_of_a_version_is_only_believed_if_it_is_that_of_the_registry() -> None:
    from tfx_registry.serving.objects.records import Blob, VersionRecord

    record = VersionRecord((Blob("a", 1, hashlib.sha256(b"a").hexdigest(), ""),))
    manifest = record.digest.manifest
    assert VersionRecord.from_json(record.to_json(), manifest) == record
    assert VersionRecord.from_json(record.to_json(), "other") is None
    for text in ("", "[]", "{}", json.dumps({"files": [[1]]}), json.dumps({"files": []})):
        assert VersionRecord.from_json(text.encode(), manifest) is None
