"""Amazon S3, and stores that speak its protocol, through s3fs."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from fsspec.asyn import sync
from s3fs import S3FileSystem

from tfx_registry.parallel import for_each
from tfx_registry.serving.objects.bucket import Bucket, Stored
from tfx_registry.serving.objects.options import ObjectOptions
from tfx_registry.serving.objects.trouble import status_of
from tfx_registry.serving.objects.urls import ObjectUrl

__all__ = ["S3Bucket"]

_PRECONDITION_FAILED = 412
_MOST_KEYS = 1_000  # of one DeleteObjects request
_MOST_PARTS = 10_000  # of one upload
_LARGEST_COPY = 5 << 30  # by one CopyObject request, in bytes
_COPY_PART = 512 << 20


@functools.lru_cache(maxsize=4)
def _client(process: int, surroundings: object, connections: int) -> Any:
    """Makes a client; the next one in the same surroundings is the same, to be made takes long."""
    # Attempts are counted in one place, ours.
    config = {
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "max_pool_connections": connections,
    }
    client = S3FileSystem(config_kwargs=config, use_listings_cache=False, skip_instance_cache=True)
    client.retries = 1
    return client


class S3Bucket(Bucket):
    """A bucket of S3."""

    def __init__(self, url: ObjectUrl, options: ObjectOptions) -> None:
        """Asks nothing of the store yet."""
        super().__init__(url, options)
        surroundings = tuple(sorted(kv for kv in os.environ.items() if kv[0].startswith("AWS_")))
        self._fs = _client(os.getpid(), surroundings, max(10, options.parallel * 2))

    def delete(self, keys: Collection[str]) -> None:
        """Removes objects, in no particular order; those that are gone already are no error."""
        ordered = sorted(keys)
        for start in range(0, len(ordered), _MOST_KEYS):
            batch = ordered[start : start + _MOST_KEYS]
            self._try("delete", batch[0], lambda batch=batch: self._delete(batch))  # type: ignore[misc]

    def abort_uploads(self, prefix: str) -> int:
        """Ends uploads in parts below a prefix that nobody will finish; returns how many."""
        found = self._try(
            "list", prefix, lambda: self._call("list_multipart_uploads", Prefix=prefix)
        )
        uploads = [u for u in found.get("Uploads") or () if u["Key"].startswith(prefix)]
        for upload in uploads:
            self._abort(upload["Key"], upload["UploadId"])
        return len(uploads)

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._fs.call_s3(method, Bucket=self.url.bucket, **arguments)

    def _pages(self, prefix: str, **arguments: Any) -> list[Any]:
        pages: list[Any] = []
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **arguments, **more)
            pages.append(page)
            if not page.get("IsTruncated"):
                return pages
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _list(self, prefix: str) -> list[Stored]:
        found = []
        for page in self._pages(prefix):
            for item in page.get("Contents") or ():
                etag = item["ETag"].strip('"')
                # Of an upload in parts it is no MD5 of the content, and has a dash.
                md5 = etag if len(etag) == 32 and "-" not in etag else ""
                modified = item["LastModified"].timestamp()
                found.append(Stored(item["Key"], item["Size"], md5, item["ETag"], modified))
        return found

    def _children(self, prefix: str) -> list[str]:
        names: list[str] = []
        for page in self._pages(prefix, Delimiter="/"):
            names += [item["Prefix"] for item in page.get("CommonPrefixes") or ()]
            names += [item["Key"] for item in page.get("Contents") or ()]
        return [name[len(prefix) :].strip("/") for name in names if name != prefix]

    def _look(self, key: str) -> tuple[bytes, str] | None:
        async def get() -> tuple[bytes, str]:
            answer = await self._fs._call_s3("get_object", Bucket=self.url.bucket, Key=key)
            async with answer["Body"] as body:
                return bytes(await body.read()), str(answer["ETag"])

        try:
            found: tuple[bytes, str] = sync(self._fs.loop, get)
            return found
        except FileNotFoundError as error:
            if status_of(error)[1] == "NoSuchBucket":
                raise
            return None

    def _part(self, key: str, start: int, end: int) -> bytes:
        return bytes(self._fs.cat_file(f"{self.url.bucket}/{key}", start=start, end=end))

    def _create(self, key: str, data: bytes) -> bool:
        return self._put(key, data, IfNoneMatch="*") is not None

    def _swap(self, key: str, data: bytes, tag: str) -> str | None:
        return self._put(key, data, IfMatch=tag)

    def _put(self, key: str, data: bytes, **condition: str) -> str | None:
        try:
            return str(self._call("put_object", Key=key, Body=data, **condition)["ETag"])
        except OSError as error:
            if status_of(error)[0] == _PRECONDITION_FAILED:
                return None
            raise

    def _upload_parts(
        self, key: str, path: Path, size: int, progress: Callable[[int], None]
    ) -> None:
        length = max(self.options.part_bytes, -(-size // _MOST_PARTS))
        begun = self._try("write", key, lambda: self._call("create_multipart_upload", Key=key))
        upload = begun["UploadId"]
        descriptor = os.open(path, os.O_RDONLY)

        def send(number: int) -> dict[str, Any]:
            data = os.pread(descriptor, length, (number - 1) * length)
            arguments = {"Key": key, "UploadId": upload, "PartNumber": number, "Body": data}
            done = self._try("write", key, lambda: self._call("upload_part", **arguments))
            progress(len(data))
            return {"PartNumber": number, "ETag": done["ETag"]}

        try:
            parts = for_each(send, range(1, -(-size // length) + 1), self.options.parallel)
            self._complete(key, upload, parts, IfNoneMatch="*")
        except BaseException:
            self._abort(key, upload)
            raise
        finally:
            os.close(descriptor)

    def _complete(
        self, key: str, upload: str, parts: list[dict[str, Any]], **condition: str
    ) -> None:
        listed = {"Parts": sorted(parts, key=lambda part: part["PartNumber"])}

        def complete() -> None:
            try:
                self._call(
                    "complete_multipart_upload", Key=key, UploadId=upload,
                    MultipartUpload=listed, **condition,
                )  # fmt: skip
            except OSError as error:
                status, code = status_of(error)
                # An attempt whose answer was lost has completed it, or the object was there.
                if code != "NoSuchUpload" and status != _PRECONDITION_FAILED:
                    raise
                if not any(stored.key == key for stored in self._list(key)):
                    raise

        self._try("write", key, complete)

    def _abort(self, key: str, upload: str) -> None:
        def abort() -> None:
            try:
                self._call("abort_multipart_upload", Key=key, UploadId=upload)
            except FileNotFoundError:
                return  # it is gone already

        self._try("delete", key, abort)

    def _copy(self, source: str, target: str, size_bytes: int) -> None:
        origin = {"Bucket": self.url.bucket, "Key": source}
        if size_bytes < _LARGEST_COPY:
            self._call("copy_object", Key=target, CopySource=origin)
            return
        upload = self._call("create_multipart_upload", Key=target)["UploadId"]
        try:
            parts = []
            for number, start in enumerate(range(0, size_bytes, _COPY_PART), 1):
                end = min(start + _COPY_PART, size_bytes) - 1
                done = self._call(
                    "upload_part_copy", Key=target, UploadId=upload, PartNumber=number,
                    CopySource=origin, CopySourceRange=f"bytes={start}-{end}",
                )  # fmt: skip
                parts.append({"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]})
            self._complete(target, upload, parts)
        except BaseException:
            self._abort(target, upload)
            raise

    def _delete(self, keys: list[str]) -> None:
        objects = [{"Key": key} for key in keys]
        done = self._call("delete_objects", Delete={"Objects": objects, "Quiet": True})
        for error in done.get("Errors") or ():
            if error.get("Code") in ("AccessDenied", "403"):
                raise PermissionError(f"{error.get('Key')}: {error.get('Message')}")
            raise TimeoutError(f"{error.get('Key')}: {error.get('Code')}")  # tried again
