"""Lets an older version serve again in an object store: newer ones are taken out of the listing.

Their bytes stay where they are out of sight, so nothing is copied for what goes. What comes back,
if it is not visible any more, is copied inside the store before anything goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tfx_registry.operations.objects.recovery import (
    known_numbers,
    put_newer_away,
    recover_objects,
)
from tfx_registry.operations.objects.site import ObjectSite
from tfx_registry.operations.rollbacks import changed, nowhere
from tfx_registry.records import Deployment, Version
from tfx_registry.serving.receipts import Bytes

__all__ = ["RollbackOfObjects"]


@dataclass(frozen=True)
class RollbackOfObjects:
    """How a rollback works there; see `tfx_registry.operations.rollbacks`.

    Attributes:
        site: The directory, held.
    """

    site: ObjectSite

    def recover(self) -> list[str]:
        """Finishes or undoes what an operation that died has begun."""
        return recover_objects(self.site)

    def newest(self) -> int | None:
        """Returns the highest number that a server sees."""
        return max(self.site.directory.visible(), default=None)

    def change(
        self,
        now: Deployment,
        version: Version,
        intend: Callable[[], None],
        *,
        hash_all: bool,
        progress: Callable[[int], None] | None,
    ) -> list[str] | None:
        """Changes what a server sees; None where that is as it should be."""
        site = self.site
        found = site.state(version, hash_all=hash_all)
        if found.state is Bytes.CHANGED:
            raise changed(version, f"{site.destination}/{version.number}", found.detail)
        record = None
        if found.state is Bytes.MISSING:
            record = site.store(version, progress=progress)
            if record is None:
                raise nowhere(version, now)
        newer = (self.newest() or 0) > version.number
        if now.number == version.number and record is None and not newer:
            return None
        intend()
        if record is not None:
            site.directory.show(version.number, record)
        return put_newer_away(site, version.number)

    def known_numbers(self, names: Iterable[str]) -> list[int]:
        """Returns the versions of the model among names, ascending."""
        return known_numbers(self.site, names)
