"""What lies in a serving directory in an object store. Nothing here changes it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.digest import IGNORED_AT_TOP
from tfx_registry.errors import IntegrityError
from tfx_registry.parallel import for_each
from tfx_registry.saved_model import SAVED_MODEL_FILE
from tfx_registry.serving.layout import STATE_DIRECTORY, parse_version_name
from tfx_registry.serving.objects.bucket import Bucket, Stored, open_bucket
from tfx_registry.serving.objects.options import ObjectOptions
from tfx_registry.serving.objects.records import Blob, VersionRecord, blob_matches
from tfx_registry.serving.objects.urls import ObjectUrl

__all__ = ["BLOBS", "STATE", "VERSIONS", "WITHDRAWN", "ObjectView", "Seen", "is_mark"]

STATE = f"{STATE_DIRECTORY}/"
BLOBS = f"{STATE}blobs/"
VERSIONS = f"{STATE}versions/"
WITHDRAWN = f"{STATE}withdrawn/"


@dataclass(frozen=True)
class Seen:
    """What lies under a numeric name.

    Attributes:
        name: The name.
        objects: What lies below it, by relative path.
    """

    name: str
    objects: dict[str, Stored]

    @property
    def loadable(self) -> bool:
        """Whether a server would try to load it and get beyond the first step."""
        return SAVED_MODEL_FILE in self.objects

    @property
    def counted(self) -> set[str]:
        """The paths that count as files of a version: no marks of folders, as consoles make them.

        TensorFlow makes them, too, where TFX Pusher publishes to `gs://`.
        """
        return {
            path for path in self.objects
            if path.partition("/")[0] not in IGNORED_AT_TOP and not is_mark(path)
        }  # fmt: skip


def is_mark(path: str) -> bool:
    """Tells whether an object below a version is the mark of a folder, by its relative path."""
    return not path or path.endswith("/")


class ObjectView:
    """A serving directory in an object store, to look at.

    Attributes:
        url: Its address.
        bucket: Its bucket.
    """

    def __init__(self, url: ObjectUrl, bucket: Bucket) -> None:
        """Asks nothing of the store yet."""
        self.url = url
        self.bucket = bucket

    @classmethod
    def open(cls, url: ObjectUrl, options: ObjectOptions | None = None) -> ObjectView:
        """Opens a directory to look at it.

        Args:
            url: Its address.
            options: How to use the store; None means as the environment says.

        Returns:
            The directory.

        Raises:
            RegistryError: See `open_bucket`.
        """
        return cls(url, open_bucket(url, options))

    def visible(self) -> dict[int, list[str]]:
        """Returns the names that a server takes for versions, by number, ascending."""
        found: dict[int, list[str]] = {}
        for name in self.bucket.children(self.url.key("")):
            number = parse_version_name(name)
            if number is not None:
                found.setdefault(number, []).append(name)
        return dict(sorted(found.items()))

    def look(self, name: str) -> Seen:
        """Lists what lies below a name."""
        prefix = self.url.key(f"{name}/")
        return Seen(name, {o.key[len(prefix) :]: o for o in self.bucket.objects(prefix)})

    def owner(self) -> str:
        """Returns the key of the model that the directory is for, or "" if none is known."""
        return (self.bucket.read(self.url.key(f"{STATE}model")) or b"").decode("utf-8", "replace")

    def record(self, number: int, manifest: str) -> VersionRecord | None:
        """Returns the files of a version, if this directory knows them."""
        data = self.bucket.read(self.record_key(number))
        return VersionRecord.from_json(data, manifest) if data is not None else None

    def recorded(self) -> list[int]:
        """Returns the versions whose bytes this directory should hold, visible or not."""
        prefix = self.url.key(VERSIONS)
        names = (o.key[len(prefix) :].removesuffix(".json") for o in self.bucket.objects(prefix))
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def put_away(self) -> list[str]:
        """Returns names of what was put away and is no version of the registry."""
        return self.bucket.children(self.url.key(WITHDRAWN))

    def holds_blobs(self, record: VersionRecord, *, read: bool = False) -> bool:
        """Tells whether the bytes of a version lie here out of sight.

        Args:
            record: The version.
            read: Whether to read and hash them; otherwise lengths and checksums are compared.
        """
        prefix = self.url.key(BLOBS)
        there = {o.key[len(prefix) :]: o for o in self.bucket.objects(prefix)}
        wanted = {file.sha256: file for file in record.files}
        if not wanted.keys() <= there.keys():
            return False
        same = for_each(
            lambda sha: blob_matches(self.bucket, there[sha], wanted[sha], read=read),
            wanted, self.bucket.options.parallel,
        )  # fmt: skip
        return all(same)

    def difference(self, seen: Seen, record: VersionRecord, *, read: bool = False) -> str:
        """Says in what a visible version is not what it should be; "" if in nothing.

        Args:
            seen: What lies there.
            record: The version.
            read: Whether to read and hash everything.
        """
        wanted, counted = record.by_path, seen.counted
        if extra := sorted(counted - wanted.keys()):
            return f"{extra[0]!r} does not belong to it"
        if missing := sorted(wanted.keys() - counted):
            return f"{missing[0]!r} is missing"

        def changed(path: str) -> str:
            same = blob_matches(self.bucket, seen.objects[path], wanted[path], read=read)
            return "" if same else path

        paths = sorted(filter(None, for_each(changed, wanted, self.bucket.options.parallel)))
        return f"{paths[0]!r} has other bytes" if paths else ""

    def fetch(self, number: int, record: VersionRecord, target: Path) -> None:
        """Downloads the bytes of a version; compares them with the record.

        Args:
            number: The version.
            record: Its files.
            target: A directory that does not exist yet.

        Raises:
            IntegrityError: They are not the bytes of the record.
        """
        blobs = {o.key: o for o in self.bucket.objects(self.url.key(BLOBS))}

        def load(path: str) -> None:
            file = record.by_path[path]
            stored = blobs.get(self.blob_key(file))
            digest = hashlib.sha256()
            if stored is not None:
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                with (target / path).open("xb") as writer:
                    for block in self.bucket.blocks(stored):
                        digest.update(block)
                        writer.write(block)
            if stored is None or digest.hexdigest() != file.sha256:
                raise IntegrityError(
                    f"cannot download version {number} from {str(self.url)!r}",
                    f"the bytes of {path!r} are gone or were changed there",
                    "run 'tfx-registry reconcile'",
                )

        target.mkdir(parents=True)
        for_each(load, record.by_path, self.bucket.options.parallel)

    def blob_key(self, file: Blob) -> str:
        """Returns where the content of a file lies out of sight."""
        return self.url.key(BLOBS + file.sha256)

    def record_key(self, number: int) -> str:
        """Returns where the record of a version lies."""
        return self.url.key(f"{VERSIONS}{number}.json")
