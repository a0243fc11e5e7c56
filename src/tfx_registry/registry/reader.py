"""The questions that the registry answers; none of them changes anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfx_registry import codec, names
from tfx_registry.displays import EventList, HeadList, VersionList
from tfx_registry.errors import InvalidInputError, NotFoundError
from tfx_registry.names import VersionRef
from tfx_registry.records import Deployment, Head, Version
from tfx_registry.registry.access import POLICY_LOG, AccessPolicy
from tfx_registry.registry.events import Decided, Event
from tfx_registry.registry.memory_store import MemoryStore
from tfx_registry.registry.store import Store
from tfx_registry.registry.uri import RegistryUri, default_uri
from tfx_registry.text import closest

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RegistryReader", "policy_of"]


def policy_of(head: Head | None) -> AccessPolicy | None:
    """Returns the access policy that the head of the policies' log holds, or None."""
    return codec.decode(AccessPolicy, head.policy) if head and head.policy else None


class RegistryReader:
    """The reading half of `ModelRegistry`."""

    def __init__(self, store: Store) -> None:
        """Reads from a store.

        Raises:
            InvalidInputError: It is an address; `open` takes those.
        """
        if isinstance(store, str | os.PathLike):
            raise InvalidInputError(
                "no registry was opened",
                "the address of a registry is not the registry itself",
                f"use {type(self).__name__}.open(uri)",
            )
        self._store = store

    @classmethod
    def open(cls, uri: str | None = None, *, create: bool = True) -> Self:
        """Opens a registry.

        Args:
            uri: `sqlite:///relative.sqlite`, `sqlite:////absolute.sqlite`, `mysql://user@host/db`,
                `postgresql://user@host/db`, `grpc://host:port` or `memory://`; None means the
                variable `TFX_REGISTRY_URI`. Passwords come from `TFX_REGISTRY_PASSWORD` or
                `TFX_REGISTRY_PASSWORD_FILE`.
            create: Whether a missing database is made.

        Returns:
            The registry.

        Raises:
            InvalidUriError: The URI is malformed, unsupported, or holds a password.
            StoreUnavailableError: The database cannot be opened.
        """
        parsed = RegistryUri.parse(uri if uri is not None else default_uri())
        if parsed.scheme == "memory":
            return cls(MemoryStore())
        from tfx_registry.registry.mlmd_store import MlmdStore  # ML Metadata takes long to load

        return cls(MlmdStore(parsed, create=create))

    def close(self) -> None:
        """Lets go of the store."""
        self._store.close()

    def __enter__(self) -> Self:
        """Returns the registry itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the registry."""
        self.close()

    def list_models(self) -> list[Head]:
        """Returns the head of every model, ordered by name."""
        return HeadList(head for head in self._store.list_heads() if head.model != POLICY_LOG)

    def access_policy(self) -> AccessPolicy | None:
        """Returns the access policy in force, or None where everybody may do everything."""
        return policy_of(self._store.read_head(POLICY_LOG))

    def head(self, model: str) -> Head:
        """Returns the head of a model: latest version, aliases, what serves.

        Raises:
            NotFoundError: There is no such model.
        """
        names.check_model_name(model)
        head = self._store.read_head(model)
        if head is None:
            raise NotFoundError(
                f"no model {model!r}",
                "nothing was registered under this name",
                "list the models with 'tfx-registry models'",
                model=model,
            )
        return head

    def get(self, model: str, number: int) -> Version:
        """Returns one version by number.

        Raises:
            NotFoundError: There is no such version.
        """
        names.check_model_name(model)
        names.check_version_number(number)
        found = self._store.read_versions(model, [number])
        if number not in found:
            latest = self.head(model).latest
            raise NotFoundError(
                f"no version {number} of {model!r}",
                f"its latest version is {latest}",
                f"list the versions with 'tfx-registry versions {model}'",
            )
        return found[number]

    def latest(self, model: str) -> Version:
        """Returns the newest version of a model.

        Raises:
            NotFoundError: There is no such model.
        """
        return self.get(model, self.head(model).latest)

    def resolve(self, ref: str | VersionRef) -> Version:
        """Returns the version that a reference means.

        Args:
            ref: `name:3`, `name@alias`, or `name` for the latest.

        Raises:
            InvalidNameError: The reference breaks the grammar.
            NotFoundError: There is no such model, version or alias.
        """
        parsed = VersionRef.parse(ref) if isinstance(ref, str) else ref
        if parsed.number is not None:
            return self.get(parsed.model, parsed.number)
        if parsed.alias is None:
            return self.latest(parsed.model)
        head = self.head(parsed.model)
        number = head.aliases.get(parsed.alias)
        if number is None:
            known = ", ".join(head.aliases) or "none"
            set_it = f"set it with 'tfx-registry alias set {parsed.model} {parsed.alias} NUMBER'"
            raise NotFoundError(
                f"no alias {parsed.alias!r} of {parsed.model!r}",
                f"aliases of the model: {known}",
                " Otherwise ".join(filter(None, (closest(parsed.alias, head.aliases), set_it))),
            )
        return self.get(parsed.model, number)

    def list_versions(
        self, model: str, *, limit: int | None = None, newest_first: bool = True
    ) -> list[Version]:
        """Lists versions of a model.

        Args:
            model: Name of the model.
            limit: At most so many; None means all.
            newest_first: The order.

        Returns:
            The versions.

        Raises:
            NotFoundError: There is no such model.
        """
        head = self.head(model)
        numbers = head.numbers()
        wanted: Sequence[int] = numbers[::-1] if newest_first else numbers
        wanted = wanted if limit is None else wanted[: max(limit, 0)]
        found = self._store.read_versions(model, wanted)
        return VersionList(found[n] for n in wanted if n in found)

    def history(self, model: str) -> list[Event]:
        """Returns every event of a model, oldest first.

        Raises:
            NotFoundError: There is no such model.
        """
        return EventList(self._store.read_events(model, 1, self.head(model).seq))

    def serving(self, model: str, alias: str = "production") -> Deployment | None:
        """Tells what serves under an alias.

        Args:
            model: Name of the model; it need not exist yet.
            alias: The alias.

        Returns:
            The newest deployment under the alias, or None.
        """
        names.check_model_name(model)
        names.check_alias(alias)
        head = self._store.read_head(model)
        return head.serving(alias) if head else None

    def decision(self, model: str, number: int) -> Decided | None:
        """Returns the last gate decision on a version, with its whole report, or None.

        Raises:
            NotFoundError: There is no such version.
        """
        event = self.last_decision(model, number)
        return event.payload if event and isinstance(event.payload, Decided) else None

    def last_decision(self, model: str, number: int) -> Event | None:
        """Returns the event of the last gate decision on a version, or None.

        Raises:
            NotFoundError: There is no such version.
        """
        summary = self.get(model, number).decision
        if summary is None:
            return None
        return next(iter(self._store.read_events(model, summary.seq, summary.seq)), None)

    def decisions(self, model: str, number: int) -> list[Event]:
        """Returns the events of all gate decisions on a version, oldest first.

        Raises:
            NotFoundError: There is no such version.
        """
        self.get(model, number)
        return [
            event
            for event in self.history(model)
            if isinstance(event.payload, Decided) and event.number == number
        ]
