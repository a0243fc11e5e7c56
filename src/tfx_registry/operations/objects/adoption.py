"""What is adopted in an object store: each version is read once, and its bytes are kept twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tfx_registry.errors import InvalidModelError
from tfx_registry.inspection import describe_model
from tfx_registry.operations.objects.recovery import recover_objects
from tfx_registry.operations.objects.site import ObjectSite
from tfx_registry.records import ModelFacts, Version
from tfx_registry.serving import check_servable
from tfx_registry.serving.objects.models import fetched_model
from tfx_registry.serving.objects.records import VersionRecord, hash_local

__all__ = ["PushedObjects"]


@dataclass(frozen=True)
class PushedObjects:
    """A directory in an object store, for `tfx_registry.operations.adopt`.

    Attributes:
        site: The directory, held.
    """

    site: ObjectSite
    _facts: dict[int, ModelFacts] = field(default_factory=dict)
    _records: dict[int, VersionRecord] = field(default_factory=dict)

    def visible(self) -> Mapping[int, Sequence[str]]:
        """Returns the names that a server takes for versions, by number."""
        return self.site.directory.visible()

    def problems(self) -> Iterator[str]:
        """Names nothing: what lies there is read only where it is to be registered."""
        return iter(())

    def look_into(self, numbers: Sequence[int]) -> Iterator[str]:
        """Downloads each version, and names what a server could not load."""
        for number in numbers:
            why = self._read(number)
            if why:
                yield f"{str(number)!r}: {why}"

    def _read(self, number: int) -> str:
        try:
            with fetched_model(self.place(number)) as local:
                check_servable(local)
                facts = describe_model(local)
                self._records[number] = hash_local(local)
        except InvalidModelError as error:
            return error.why
        self._facts[number] = dataclasses.replace(facts, uri=self.place(number))
        return ""

    def recover(self) -> None:
        """Finishes or undoes what an operation that died has begun."""
        recover_objects(self.site)

    def place(self, number: int) -> str:
        """Returns where a version lies."""
        return f"{self.site.destination}/{number}"

    def facts(self, number: int) -> ModelFacts | None:
        """Returns what was read of a version."""
        return self._facts[number]

    def keep(self, versions: Sequence[Version]) -> None:
        """Copies versions out of sight, from where a rollback brings them back."""
        for version in versions:
            self.site.directory.keep(version.number, self._records[version.number])

    def claim(self, owner: str) -> None:
        """Lets the directory say for which model it is."""
        self.site.directory.claim(owner)
