"""A serving directory in an object store: what a server sees, and how a version gets there.

There is no rename. A server that lists `<base>/` takes each numeric prefix for a version as soon
as one object lies below it, and without `saved_model.pb` a load fails at once and is tried again.
So a version becomes visible by copies inside the store, of bytes that are there and verified
already, and `saved_model.pb` comes last, by a write with the condition that there is none: that
one request makes the version, for one promoter only. It goes in the other order: `saved_model.pb`
first, `variables/variables.index` last, so that a server that is just loading it meets an error,
and never a model without its variables, which it would take for one that has none.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tfx_registry.errors import IntegrityError, InvalidModelError, RefusedError
from tfx_registry.parallel import for_each
from tfx_registry.saved_model import SAVED_MODEL_FILE
from tfx_registry.serving.completeness import check_servable
from tfx_registry.serving.objects.bucket import Bucket, open_bucket
from tfx_registry.serving.objects.lease import Lease, hold_lease
from tfx_registry.serving.objects.options import ObjectOptions
from tfx_registry.serving.objects.records import (
    Blob,
    VersionRecord,
    blob_matches,
    hash_local,
    upload_blobs,
)
from tfx_registry.serving.objects.urls import ObjectUrl
from tfx_registry.serving.objects.view import BLOBS, STATE, WITHDRAWN, ObjectView, Seen, is_mark
from tfx_registry.serving.source import scan_source

__all__ = ["ObjectDirectory", "hold_directory"]

_logger = logging.getLogger(__name__)

_INDEX = "variables/variables.index"


class ObjectDirectory(ObjectView):
    """A serving directory in an object store, held by this publisher: see `hold_directory`."""

    def __init__(self, url: ObjectUrl, bucket: Bucket, lease: Lease) -> None:
        """Use `hold_directory`."""
        super().__init__(url, bucket)
        self._lease = lease

    def claim(self, owner: str) -> None:
        """Says for which model the directory is; the first one to say so is right.

        Raises:
            RefusedError: It is for another one.
        """
        key = self.url.key(f"{STATE}model")
        self._step()
        if not self.bucket.create(key, owner.encode()) and self.owner() != owner:
            raise RefusedError(
                f"cannot publish {owner!r} into {str(self.url)!r}",
                f"the directory is for the model {self.owner()!r}, and a server takes all versions "
                "in it for one model",
                "give each model a serving directory of its own",
            )

    def store(
        self,
        source: Path,
        number: int,
        *,
        digest: str,
        manifest: str,
        progress: Callable[[int], None] | None = None,
    ) -> VersionRecord:
        """Brings the bytes of a version here, out of sight, verified.

        Args:
            source: The SavedModel directory.
            number: The version.
            digest: OMS root digest that the bytes must have.
            manifest: Manifest digest that bytes and names must have.
            progress: Called with the number of bytes uploaded since the last call.

        Returns:
            Its files.

        Raises:
            InvalidModelError: The source is missing, unreadable, or holds what may not be
                published.
            IntegrityError: It has other bytes, or they did not arrive.
        """
        check_servable(source)
        root = source.resolve()
        scan_source(root, root)
        record = hash_local(root)
        found = record.digest
        if (found.root, found.manifest) != (digest, manifest):
            raise IntegrityError(
                f"cannot publish: the model at {str(root)!r} has other bytes than the registered "
                "version",
                f"its digest is {found.root[:16]}, registered is {digest[:16]}"
                if found.root != digest else "files were renamed",
                "find out who changed it, and register the new bytes as a version of their own",
            )  # fmt: skip
        for file in record.files:
            _check_key(self.url, f"{number}/{file.path}")
        upload_blobs(
            self.bucket, self.url.key(BLOBS), root, record, progress or (lambda _: None),
            self._step,
        )  # fmt: skip
        self._note(number, record)
        return record

    def keep(self, number: int, record: VersionRecord) -> None:
        """Keeps the bytes of a visible version out of sight, too.

        They pass through here only where the store tells no MD5 of them: then they are read back.
        What lies there under their names already may be what somebody had copied who died before
        looking at it, so it is looked at as well.

        Args:
            number: The version; it is visible.
            record: Its files.

        Raises:
            IntegrityError: What lies there is not what the record says.
        """
        seen, contents = self.look(str(number)), {file.sha256: file for file in record.files}

        there = {stored.key: stored for stored in self.bucket.objects(self.url.key(BLOBS))}

        def keep(file: Blob) -> None:
            kept = there.get(self.blob_key(file))
            if kept is not None and blob_matches(self.bucket, kept, file, read=False):
                return
            stored = seen.objects.get(file.path)
            if stored is None:
                raise _changed(self.url, number, f"{file.path!r} is gone")
            self._step()
            self.bucket.copy(stored.key, self.blob_key(file), file.size_bytes)
            (copy,) = self.bucket.objects(self.blob_key(file))
            if not blob_matches(self.bucket, copy, file, read=False):
                self.bucket.delete([copy.key])
                raise _changed(self.url, number, f"{file.path!r} has other bytes")

        for_each(keep, contents.values(), self.bucket.options.parallel)
        self._note(number, record)

    def _note(self, number: int, record: VersionRecord) -> None:
        """Writes the record of a version, whose bytes lie here."""
        key, manifest = self.record_key(number), record.digest.manifest
        self._step()
        if not self.bucket.create(key, record.to_json()) and self.record(number, manifest) is None:
            self.bucket.delete([key])  # a damaged one, or another's
            self.bucket.create(key, record.to_json())

    def show(self, number: int, record: VersionRecord) -> bool:
        """Makes a version visible whose bytes lie here.

        Args:
            number: The version.
            record: Its files.

        Returns:
            Whether it was not visible before.

        Raises:
            IntegrityError: Something else lies there.
        """
        seen = self.look(str(number))
        if seen.loadable:
            self._check_same(number, seen, record)
            return False
        if strange := sorted(seen.counted - record.by_path.keys()):
            raise _occupied(self.url, number, f"{strange[0]!r} lies there already")
        others = [file for file in record.files if file.path != SAVED_MODEL_FILE]

        def copy(path: str) -> None:
            file = record.by_path[path]
            self._step()
            self.bucket.copy(self.blob_key(file), self.url.key(f"{number}/{path}"), file.size_bytes)

        for_each(copy, [file.path for file in others], self.bucket.options.parallel)
        wanted = VersionRecord(tuple(others))
        wrong = self.difference(self.look(str(number)), wanted) if others else ""
        if wrong and not self.look(str(number)).loadable:
            raise _occupied(self.url, number, f"after the copy {wrong}")
        graph = record.by_path[SAVED_MODEL_FILE]
        data = self.bucket.read(self.blob_key(graph)) or b""
        if hashlib.sha256(data).hexdigest() != graph.sha256:
            raise _occupied(
                self.url, number, f"the stored bytes of {SAVED_MODEL_FILE} were changed"
            )
        self._step()
        if not self.bucket.create(self.url.key(f"{number}/{SAVED_MODEL_FILE}"), data):
            # An answer that was lost, or somebody else who was faster.
            self._check_same(number, self.look(str(number)), record)
        _logger.info("published %s/%d", self.url, number)
        return True

    def hide(self, name: str, record: VersionRecord | None) -> None:
        """Takes a name away from servers; bytes that lie nowhere else here are kept aside.

        Args:
            name: The name.
            record: The version that it should hold, whose bytes lie here; None if it is none.
        """
        seen = self.look(name)
        known = record.by_path if record is not None else {}
        keep = [
            path for path, stored in seen.objects.items()
            if not is_mark(path) and (
                path not in known
                or not blob_matches(self.bucket, stored, known[path], read=False)
            )
        ]  # fmt: skip
        aside = self._aside(name)

        def save(path: str) -> None:
            self._step()
            self.bucket.copy(seen.objects[path].key, aside + path, seen.objects[path].size_bytes)

        for_each(save, keep, self.bucket.options.parallel)
        self._remove(seen)

    def repair(self, number: int, record: VersionRecord) -> None:
        """Puts the right bytes in the place of changed ones; those are kept aside.

        The version stays in the listing all the time, so that no server turns to another one.

        Args:
            number: The version; it is visible.
            record: Its files, whose bytes lie here.
        """
        seen, aside = self.look(str(number)), self._aside(str(number))
        for path, stored in seen.objects.items():
            file = record.by_path.get(path)
            if is_mark(path) or (
                file is not None and blob_matches(self.bucket, stored, file, read=True)
            ):
                continue
            self._step()
            self.bucket.copy(stored.key, aside + path, stored.size_bytes)
            if file is None:
                self.bucket.delete([stored.key])
            else:
                self.bucket.copy(self.blob_key(file), stored.key, file.size_bytes)
        for path, file in record.by_path.items():
            if path not in seen.objects:
                self._step()
                self.bucket.copy(
                    self.blob_key(file), self.url.key(f"{number}/{path}"), file.size_bytes
                )

    def drop(self, number: int, record: VersionRecord | None) -> None:
        """Removes a version; its bytes go, except those that another version has, too.

        Args:
            number: The version.
            record: Its files.
        """
        seen = self.look(str(number))
        if record is None and not seen.loadable:
            self.hide(str(number), None)  # nobody knows what that is
        else:
            self._remove(seen)
        self._step()
        self.bucket.delete([self.record_key(number)])

    def collect(self, manifests: dict[int, str]) -> int:
        """Removes stored bytes that belong to no version.

        Args:
            manifests: Manifest digests of all versions of the model, by number.

        Returns:
            How many objects went.
        """
        needed: set[str] = set()
        for number in self.recorded():
            record = self.record(number, manifests.get(number, ""))
            if record is None:
                return 0  # nobody knows what it needs
            needed.update(file.sha256 for file in record.files)
        prefix = self.url.key(BLOBS)
        idle = [o.key for o in self.bucket.objects(prefix) if o.key[len(prefix) :] not in needed]
        self._step()
        self.bucket.delete(idle)
        return len(idle) + self.bucket.abort_uploads(self.url.key(STATE))

    def _remove(self, seen: Seen) -> None:
        prefix = self.url.key(f"{seen.name}/")
        rest = seen.objects.keys() - {SAVED_MODEL_FILE, _INDEX}
        for paths in ({SAVED_MODEL_FILE}, rest, {_INDEX}):
            keys = [prefix + path for path in paths if path in seen.objects]
            if keys:
                self._step()
                self.bucket.delete(keys)
        _logger.info("%s/%s is hidden", self.url, seen.name)

    def _check_same(self, number: int, seen: Seen, record: VersionRecord) -> None:
        if wrong := self.difference(seen, record):
            raise _occupied(self.url, number, wrong)

    def _aside(self, name: str) -> str:
        return self.url.key(f"{WITHDRAWN}{name}~{uuid.uuid4().hex[:8]}/")

    def _step(self) -> None:
        self._lease.check()


@contextmanager
def hold_directory(
    url: ObjectUrl, options: ObjectOptions | None = None
) -> Iterator[ObjectDirectory]:
    """Waits until nobody else works on a directory, and holds it.

    Args:
        url: Its address.
        options: How to use the store; None means as the environment says.

    Yields:
        The directory.

    Raises:
        RegistryError: See `open_bucket` and `hold_lease`.
    """
    bucket = open_bucket(url, options)
    with hold_lease(bucket, url.key(f"{STATE}lock")) as lease:
        yield ObjectDirectory(url, bucket, lease)


def _check_key(url: ObjectUrl, path: str) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidModelError(
            f"cannot publish {path!r}", "its name is no UTF-8, which keys of objects must be",
            "export the model with other names",
        ) from error  # fmt: skip
    url.key(path)


def _changed(url: ObjectUrl, number: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"cannot keep a copy of '{url}/{number}'",
        f"it was changed while it was read: {why}",
        "find out who writes there, and repeat it",
    )


def _occupied(url: ObjectUrl, number: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"cannot publish as '{url}/{number}'",
        f"something else is there: {why}",
        "find out who made it; 'tfx-registry reconcile --quarantine' moves it away",
    )
