"""What lies in an object store for each version, and how local bytes get there.

Below `<base>/.tfx_registry/`, where no server looks:

    lock                   who works here now, see lease.py
    model                  which model the place is for
    blobs/<sha256>         each content once, verified after its upload
    versions/<N>.json      the files of a version: path, size, SHA-256, MD5
    withdrawn/<name>~<id>  what was put away and is not (or not exactly) a version of the registry

A content that has its SHA-256 for a name can be uploaded twice, by a repeat or by two promoters,
without harm, and is uploaded once for all versions that share it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.digest import DirectoryDigest, FileDigest, combine, walk_files
from tfx_registry.errors import IntegrityError, InvalidModelError
from tfx_registry.parallel import for_each, worker_count
from tfx_registry.serving.objects.bucket import Bucket, Stored
from tfx_registry.serving.objects.options import Verify

__all__ = ["Blob", "VersionRecord", "blob_matches", "hash_local", "hash_stored", "upload_blobs"]

_FORMAT = 1
_BLOCK = 1 << 20


@dataclass(frozen=True, order=True)
class Blob:
    """A file of a version.

    Attributes:
        path: POSIX path relative to the version.
        size_bytes: Its length.
        sha256: SHA-256 of its content in hexadecimal digits.
        md5: MD5 of its content, to compare with what stores compute; "" if not known.
    """

    path: str
    size_bytes: int
    sha256: str
    md5: str


@dataclass(frozen=True)
class VersionRecord:
    """The files of a version.

    Attributes:
        files: The files, by path.
    """

    files: tuple[Blob, ...]

    @property
    def digest(self) -> DirectoryDigest:
        """Their digest, as a registry has it."""
        return combine([FileDigest(f.path, f.size_bytes, f.sha256) for f in self.files])

    @property
    def by_path(self) -> Mapping[str, Blob]:
        """The files by path."""
        return {file.path: file for file in self.files}

    @property
    def size_bytes(self) -> int:
        """Sum of the lengths."""
        return sum(file.size_bytes for file in self.files)

    def to_json(self) -> bytes:
        """Writes the record."""
        rows = [[f.path, f.size_bytes, f.sha256, f.md5] for f in self.files]
        return json.dumps({"format": _FORMAT, "files": rows}, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, manifest: str) -> VersionRecord | None:
        """Reads a record.

        Args:
            data: What `to_json` wrote.
            manifest: Manifest digest of the version, by the registry.

        Returns:
            The record, or None if it is not that of this version.
        """
        try:
            rows = json.loads(data)["files"]
            files = [Blob(str(p), int(size), str(sha), str(md5)) for p, size, sha, md5 in rows]
            record = cls(tuple(sorted(files)))
            return record if files and record.digest.manifest == manifest else None
        except (ValueError, KeyError, TypeError):
            return None


def hash_local(root: Path) -> VersionRecord:
    """Hashes a local model directory.

    Args:
        root: The directory.

    Returns:
        Its files.

    Raises:
        InvalidModelError: It holds what cannot be versioned, or is unreadable.
    """

    def look(file: tuple[str, Path]) -> Blob:
        relative, path = file
        try:
            with path.open("rb") as reader:
                return _hash(relative, iter(lambda: reader.read(_BLOCK), b""))
        except OSError as error:
            raise InvalidModelError(
                f"cannot read {str(path)!r}", error.strerror or str(error), "check the permissions"
            ) from error

    return VersionRecord(tuple(sorted(for_each(look, walk_files(root), worker_count()))))


def hash_stored(bucket: Bucket, path: str, stored: Stored) -> Blob:
    """Reads an object back and hashes it.

    Args:
        bucket: The bucket.
        path: What the result calls it.
        stored: The object.

    Returns:
        What it holds.
    """
    return _hash(path, bucket.blocks(stored))


def _hash(path: str, blocks: object) -> Blob:
    sha, md5, size = hashlib.sha256(), _md5(), 0
    for block in blocks:  # type: ignore[attr-defined]
        sha.update(block)
        if md5 is not None:
            md5.update(block)
        size += len(block)
    return Blob(path, size, sha.hexdigest(), md5.hexdigest() if md5 is not None else "")


def _md5() -> hashlib._Hash | None:
    try:
        return hashlib.md5(usedforsecurity=False)
    except ValueError:  # a system that has none: objects are read back instead
        return None


def blob_matches(bucket: Bucket, stored: Stored, file: Blob, *, read: bool) -> bool:
    """Tells whether an object has the content of a file.

    Args:
        bucket: The bucket.
        stored: The object.
        file: The file.
        read: Whether to read it, whatever checksum the store reports.

    Returns:
        Whether it has.
    """
    if stored.size_bytes != file.size_bytes:
        return False
    if not read and stored.md5 and stored.md5 == file.md5:
        return True
    # An ETag that differs may be no MD5 at all (encryption), so the bytes decide.
    return hash_stored(bucket, file.path, stored).sha256 == file.sha256


def upload_blobs(
    bucket: Bucket,
    folder: str,
    root: Path,
    record: VersionRecord,
    progress: Callable[[int], None],
    step: Callable[[], None],
) -> None:
    """Sees to it that the store holds each content of a version, verified.

    Args:
        bucket: The bucket.
        folder: Key below which contents lie, with a slash at its end.
        root: The local model directory.
        record: Its files.
        progress: Called with the number of bytes uploaded since the last call.
        step: Called before each upload; may refuse to go on.

    Raises:
        IntegrityError: What the store returns is not what was uploaded.
    """
    there = {stored.key: stored for stored in bucket.objects(folder)}
    contents = {file.sha256: file for file in record.files}
    missing = [f for f in contents.values() if folder + f.sha256 not in there]
    missing.sort(key=lambda file: -file.size_bytes)  # the longest first keeps all threads busy

    def send(file: Blob) -> None:
        step()
        try:
            bucket.upload(folder + file.sha256, root / file.path, progress)
        except OSError as error:
            raise InvalidModelError(
                f"cannot read {str(root / file.path)!r}", str(error), "check the permissions"
            ) from error

    for_each(send, missing, bucket.options.parallel)
    if missing:
        there = {stored.key: stored for stored in bucket.objects(folder)}
    read = bucket.options.verify is Verify.READ_BACK

    def verify(file: Blob) -> None:
        stored = there.get(folder + file.sha256)
        if stored is not None and blob_matches(bucket, stored, file, read=read):
            return
        bucket.delete([folder + file.sha256])  # wrong under its name: a repeat uploads it again
        raise IntegrityError(
            f"cannot publish {file.path!r} from {str(root)!r}",
            "what the object store returns is not what was to be uploaded: it was damaged on the "
            "way, or the file was changed meanwhile",
            "repeat it; no version was added",
        )

    for_each(verify, contents.values(), bucket.options.parallel)
