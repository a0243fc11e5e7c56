"""A digest of examples and other sources, wherever they lie.

Up to `MAX_BYTES` the files are read, and the digest is the OMS root digest of their folder: a copy
elsewhere, on a disk or in a store, has the same. More is not read for a record: of an object store
the digest is then one of its list, which begins with `LISTING`; of a disk there is none.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Sequence

from tfx_registry import codec
from tfx_registry.components import places
from tfx_registry.errors import IntegrityError, RegistryError
from tfx_registry.inspection import digest_source
from tfx_registry.serving.objects.bucket import Stored
from tfx_registry.serving.objects.models import stored_files
from tfx_registry.serving.objects.urls import ObjectUrl

__all__ = ["LISTING", "MAX_BYTES", "combined", "digest_of_files"]

_logger = logging.getLogger(__name__)

#: Examples larger than this are not read to hash them, in bytes.
MAX_BYTES = 1 << 30
#: Begins the digest of a list: of names, sizes and checksums that a store tells, not of bytes.
LISTING = "listing:"


def digest_of_files(uri: str) -> str:
    """Computes the digest of what lies in a folder.

    Args:
        uri: A path, or an address in an object store.

    Returns:
        The OMS root digest; of more than `MAX_BYTES` in an object store `LISTING` and the SHA-256
        of a line for each object: name below the folder, size in bytes, and its MD5, or its tag,
        which every write changes, where the store knows no MD5. "" for what is empty or out of
        reach, and for more than `MAX_BYTES` on a disk.
    """
    if not places.is_in_store(uri):
        return digest_source(uri, max_bytes=MAX_BYTES)
    try:
        found = stored_files(uri)
        if sum(stored.size_bytes for stored in found) > MAX_BYTES:
            return _digest_of_list(uri, found)
        return _digest_of_bytes(uri, found) if found else ""
    except RegistryError as error:
        _logger.warning("no digest of what lies at %r: %s", uri, error)
        return ""


@functools.lru_cache(maxsize=16)
def _digest_of_bytes(uri: str, found: tuple[Stored, ...]) -> str:
    """Downloads and hashes; once in a process, as long as the store lists the same."""
    with places.local_copy(uri) as copy:
        digest = digest_source(str(copy), max_bytes=MAX_BYTES)
    if stored_files(uri) != found:
        raise IntegrityError(f"cannot read {uri!r}", "it changed while it was read", "repeat it")
    return digest


def _digest_of_list(uri: str, found: Sequence[Stored]) -> str:
    prefix = ObjectUrl.parse(uri).key("")
    lines = (
        codec.dumps([stored.key.removeprefix(prefix), stored.size_bytes, stored.md5 or stored.tag])
        for stored in found
    )
    return LISTING + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def combined(digests: Sequence[str]) -> str:
    """Joins the digests of several folders.

    Args:
        digests: What `digest_of_files` returned for each, in their order.

    Returns:
        Of one folder its own digest; "" if that of any is not known. One of a list makes all one
        of a list.
    """
    if not digests or not all(digests):
        return ""
    if len(digests) == 1:
        return digests[0]
    joined = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    listed = any(digest.startswith(LISTING) for digest in digests)
    return LISTING + joined if listed else joined
