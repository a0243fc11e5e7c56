"""What rollouts by a model config do in a serving directory that they hold, wherever it lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tfx_registry.errors import RefusedError
from tfx_registry.names import model_key
from tfx_registry.operations.bases import Base, lies_in
from tfx_registry.operations.recovery import bring_back, forget, recover
from tfx_registry.operations.site import Site, open_site, sources
from tfx_registry.records import Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import check_servable
from tfx_registry.serving.objects import ObjectUrl, is_object_url
from tfx_registry.serving.objects.models import fetched_model
from tfx_registry.serving.receipts import Bytes, write_receipt

__all__ = ["Held", "Publication", "hold", "local_source"]


@dataclass(frozen=True)
class Publication:
    """A version that is about to become visible.

    Attributes:
        version: The version.
        source: What `local_source` has found.
        before_visible: Called once the bytes are verified, before a server can see them; not where
            the version lies there already.
        progress: Called with the number of bytes copied since the last call.
        check: Called with the verified copy before a server can see it.
    """

    version: Version
    source: str | os.PathLike[str] | None
    before_visible: Callable[[], None]
    progress: Callable[[int], None] | None = None
    check: Callable[[Path], None] | None = None


class Held(Protocol):
    """A serving directory, held by this process."""

    def recover(self) -> None:
        """Finishes or undoes what an operation that died has begun."""

    def publish(self, publication: Publication) -> None:
        """Makes a version visible that servers do not load by themselves.

        Args:
            publication: The version, and what comes before it is visible.

        Raises:
            RegistryError: See `promote_by_config`.
        """

    def bring(self, version: Version, *, hash_all: bool) -> str:
        """Sees to it that a version lies where servers look, with the right bytes.

        Args:
            version: The version.
            hash_all: Whether to hash it, whatever was noted of it.

        Returns:
            "", or why it does not.
        """

    def put_away(self, number: int) -> None:
        """Takes a version out of what servers see."""


@contextmanager
def local_source(
    registry: ModelRegistry, version: Version, base: Base, source: str | os.PathLike[str] | None
) -> Iterator[str | os.PathLike[str] | None]:
    """Finds the bytes of a version before a directory is held, so that nobody waits for that.

    Args:
        registry: The registry.
        version: The version.
        base: The serving base directory that they are for.
        source: Where they lie; None means any place known to the registry.

    Yields:
        Where they lie, for `Publication`; what lies in an object store is downloaded.

    Raises:
        InvalidModelError: They are no SavedModel that a server can load.
        RefusedError: The last known copy was removed.
        RegistryError: An object store refuses, or does not answer.
    """
    if isinstance(base, ObjectUrl):
        yield source  # looked for once it is known whether they have to be uploaded
        return
    root = os.fspath(source) if source is not None else _find(registry, version, base)
    with fetched_model(root) if is_object_url(root) else nullcontext(Path(root)) as local:
        if not lies_in(base, version.number):
            check_servable(local)
        yield local


def _find(registry: ModelRegistry, version: Version, base: Path) -> str:
    if os.path.exists(version.uri):  # noqa: PTH110 - False where one may not look
        return version.uri
    others = sources(version, registry.head(version.model), base)
    known_gone = version.bytes_gone and not is_object_url(version.uri)
    if not others and known_gone and not lies_in(base, version.number):
        raise RefusedError(
            f"cannot promote {version.ref}",
            "its bytes are gone: the last known copy was removed",
            f"bring them back to {version.uri!r}, or register the model again",
        )
    return str(others[0]) if others else version.uri


@contextmanager
def hold(
    registry: ModelRegistry, model: str, base: Base, *, actor: str | None = None
) -> Iterator[Held]:
    """Waits until nobody else works in a directory, and holds it.

    Args:
        registry: The registry.
        model: Name of the model.
        base: Its serving base directory.
        actor: Who acts.

    Yields:
        The directory.

    Raises:
        RegistryError: See `open_site` and `open_object_site`.
    """
    if isinstance(base, ObjectUrl):
        from tfx_registry.operations.objects.held import HeldObjects
        from tfx_registry.operations.objects.site import open_object_site

        with open_object_site(registry, model, base, actor=actor) as stored:
            yield HeldObjects(stored)
    else:
        with open_site(registry, model, base, actor=actor) as site:
            yield _HeldFiles(site)


@dataclass(frozen=True)
class _HeldFiles:
    """A directory of files."""

    site: Site

    def recover(self) -> None:
        recover(self.site)

    def publish(self, publication: Publication) -> None:
        assert publication.source is not None, "local_source finds it"
        site, version, number = self.site, publication.version, publication.version.number
        recover(site, repeated=number)
        site.directory.publish(
            publication.source, number,
            owner=model_key(site.model), digest=version.facts.digest,
            manifest=version.facts.manifest, before_visible=publication.before_visible,
            progress=publication.progress, check=publication.check, beside_newer=True,
        )  # fmt: skip
        write_receipt(site.base, number, manifest=version.facts.manifest)
        forget(site, version)

    def bring(self, version: Version, *, hash_all: bool) -> str:
        site = self.site
        check = site.check(version, site.base / str(version.number), hash_all=hash_all)
        if check.state is Bytes.RIGHT or (
            check.state is Bytes.MISSING
            and (bring_back(site, version) or site.publish(version) is not None)
        ):
            return ""
        return check.detail or "its bytes are nowhere to be found"

    def put_away(self, number: int) -> None:
        self.site.put_away(number)
