"""Google Cloud Storage, through gcsfs.

Requests go through gcsfs's own transport: its credentials, and its retries, which come before
ours. Objects are written by uploads that name them in the query, because in gcsfs's simple upload
the parts of the request are told apart by a fixed line that a model may hold.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gcsfs.core import GCSFileSystem

from tfx_registry.parallel import for_each
from tfx_registry.serving.objects.bucket import Bucket, Stored
from tfx_registry.serving.objects.options import ObjectOptions
from tfx_registry.serving.objects.urls import ObjectUrl

__all__ = ["GcsBucket"]

_QUANTUM = 1 << 18  # parts of an upload are multiples of it, in bytes


class GcsBucket(Bucket):
    """A bucket of Google Cloud Storage."""

    def __init__(self, url: ObjectUrl, options: ObjectOptions) -> None:
        """Asks nothing of the store yet, but looks for credentials."""
        # gcsfs tries each request up to six times, with pauses that double; ours come on top.
        super().__init__(url, dataclasses.replace(options, attempts=1))
        emulator = os.environ.get("STORAGE_EMULATOR_HOST")
        place = {"endpoint_url": emulator, "token": "anon"} if emulator else {}
        self._fs = GCSFileSystem(use_listings_cache=False, skip_instance_cache=True, **place)

    def delete(self, keys: Collection[str]) -> None:
        """Removes objects, in no particular order; those that are gone already are no error."""

        def remove(key: str) -> None:
            try:
                self._fs.call("DELETE", "b/{}/o/{}", self.url.bucket, key)
            except FileNotFoundError:
                return  # gone already

        def attempt(key: str) -> None:
            self._try("delete", key, lambda: remove(key))

        for_each(attempt, sorted(keys), self.options.parallel)

    def abort_uploads(self, prefix: str) -> int:
        """Does nothing: unfinished uploads are invisible there, and go after a week."""
        return 0

    def _pages(self, prefix: str, **arguments: Any) -> list[Any]:
        pages: list[Any] = []
        more: dict[str, str] = {}
        while True:
            page = self._fs.call(
                "GET", "b/{}/o", self.url.bucket, prefix=prefix, json_out=True, **arguments, **more
            )
            pages.append(page)
            if not page.get("nextPageToken"):
                return pages
            more = {"pageToken": page["nextPageToken"]}

    def _list(self, prefix: str) -> list[Stored]:
        return [_stored(item) for page in self._pages(prefix) for item in page.get("items") or ()]

    def _children(self, prefix: str) -> list[str]:
        names: list[str] = []
        for page in self._pages(prefix, delimiter="/"):
            names += page.get("prefixes") or ()
            names += [item["name"] for item in page.get("items") or ()]
        return [name[len(prefix) :].strip("/") for name in names if name != prefix]

    def _look(self, key: str) -> tuple[bytes, str] | None:
        try:
            found = self._fs.call("GET", "b/{}/o/{}", self.url.bucket, key, json_out=True)
            return bytes(self._fs.cat_file(f"{self.url.bucket}/{key}")), str(found["generation"])
        except FileNotFoundError:
            return None

    def _part(self, key: str, start: int, end: int) -> bytes:
        return bytes(self._fs.cat_file(f"{self.url.bucket}/{key}", start=start, end=end))

    def _create(self, key: str, data: bytes) -> bool:
        return self._put(key, data, "0") is not None

    def _swap(self, key: str, data: bytes, tag: str) -> str | None:
        return self._put(key, data, tag)

    def _put(self, key: str, data: bytes, generation: str) -> str | None:
        try:
            done = self._fs.call(
                "POST", self._upload_path(key), uploadType="media", ifGenerationMatch=generation,
                data=data, headers={"Content-Type": "application/octet-stream"}, json_out=True,
            )  # fmt: skip
        except FileExistsError:  # the condition does not hold
            return None
        return str(done["generation"])

    def _upload_path(self, key: str) -> str:
        bucket = quote(self.url.bucket, safe="")
        return f"{self._fs._location}/upload/storage/v1/b/{bucket}/o?name={quote(key, safe='')}"

    def _upload_parts(
        self, key: str, path: Path, size: int, progress: Callable[[int], None]
    ) -> None:
        length = self.options.part_bytes // _QUANTUM * _QUANTUM

        def upload() -> None:
            try:
                self._fs.put_file(
                    str(path), f"{self.url.bucket}/{key}", chunksize=length, mode="create"
                )
            except FileExistsError:
                return  # compared with what it should be by whoever asked for it

        self._try("write", key, upload)
        progress(size)

    def _copy(self, source: str, target: str, size_bytes: int) -> None:
        self._fs.cp_file(f"{self.url.bucket}/{source}", f"{self.url.bucket}/{target}")


def _stored(item: dict[str, Any]) -> Stored:
    md5 = base64.b64decode(item.get("md5Hash") or "").hex()
    tag = str(item.get("generation", ""))
    return Stored(item["name"], int(item.get("size") or 0), md5, tag, _seconds(item))


def _seconds(item: dict[str, Any]) -> float:
    """Reads when an object was written (RFC 3339); Python 3.10 does not know "Z"."""
    text = str(item.get("timeCreated") or item.get("updated") or "")
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
