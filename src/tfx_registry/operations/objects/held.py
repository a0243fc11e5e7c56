"""What rollouts by a model config do in a serving directory in an object store."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tfx_registry.operations.held import Publication
from tfx_registry.operations.objects.promotion import make_visible
from tfx_registry.operations.objects.recovery import recover_objects
from tfx_registry.operations.objects.site import ObjectSite
from tfx_registry.records import Version
from tfx_registry.serving.receipts import Bytes

__all__ = ["HeldObjects"]


@dataclass(frozen=True)
class HeldObjects:
    """A directory in an object store, as rollouts use it; see `tfx_registry.operations.held`.

    Attributes:
        site: The directory, held.
    """

    site: ObjectSite

    def recover(self) -> None:
        """Finishes or undoes what an operation that died has begun."""
        recover_objects(self.site)

    def publish(self, publication: Publication) -> None:
        """Makes a version visible; servers do not load it before their config lists it."""
        version, source = publication.version, publication.source
        recover_objects(self.site, repeated=version.number)
        make_visible(
            self.site, version, os.fspath(source) if source is not None else None,
            before_visible=publication.before_visible, progress=publication.progress,
            check=publication.check,
        )  # fmt: skip

    def bring(self, version: Version, *, hash_all: bool) -> str:
        """Sees to it that a version lies where servers look; says why it does not, or ""."""
        found = self.site.state(version, hash_all=hash_all)
        if found.state is Bytes.RIGHT:
            return ""
        if found.state is Bytes.MISSING and self.site.show(version):
            return ""
        return found.detail if found.state is Bytes.CHANGED else "its bytes are nowhere to be found"

    def put_away(self, number: int) -> None:
        """Takes a version out of what servers see."""
        self.site.put_away(number)
