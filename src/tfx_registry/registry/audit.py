"""Audit: export and import of the history, checks of log and state, and what served when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from tfx_registry import codec, names
from tfx_registry._version import __version__
from tfx_registry.errors import IntegrityError, NotFoundError
from tfx_registry.names import model_key
from tfx_registry.records import Head
from tfx_registry.registry import fsck, served, transfer, verify
from tfx_registry.registry.access import POLICY_LOG, Action
from tfx_registry.registry.fsck import FsckReport
from tfx_registry.registry.served import Served
from tfx_registry.registry.transfer import Transfer
from tfx_registry.registry.verify import Damage, LogReport, Progress, silent
from tfx_registry.registry.writer import RegistryWriter

__all__ = ["Audit"]


class Audit(RegistryWriter):
    """The part of `ModelRegistry` that proves what happened."""

    def export_history(
        self,
        write: Callable[[str], object],
        models: Sequence[str] = (),
        *,
        registry: str = "",
        progress: Progress = silent,
    ) -> Transfer:
        """Writes the history of models as JSON Lines; `import_history` reads it.

        The log of each model is verified on the way. An export beside writers holds a state that
        each model had.

        Args:
            write: Writes text, such as the `write` of a file opened for UTF-8 text.
            models: Names of the models; empty means everything, the access policy included.
            registry: What the header says of where this comes from, such as the registry's URI.
            progress: Told of each event.

        Returns:
            How many events of which models were written.

        Raises:
            NotFoundError: There is no such model. Nothing was written.
            IntegrityError: A log does not verify. What was written lacks its end, and is refused
                by an import.
        """
        heads = [self.head(model) for model in models] if models else self._all_heads()
        heads = list({model_key(head.model): head for head in heads}.values())
        header: dict[str, Any] = {
            "registry": registry,
            "time": self._now(),
            "tool": f"tfx-registry {__version__}",
        }
        return transfer.export_logs(self._store, heads, write, header, progress)

    def import_history(
        self, source: BinaryIO, *, actor: str | None = None, progress: Progress = silent
    ) -> Transfer:
        """Appends an exported history: events keep their number, time, actor, token and digest.

        Everything is verified before anything is written. Importing again changes nothing, and
        an interrupted import goes on where it stopped.

        Args:
            source: The file, open for reading bytes; it must be seekable.
            actor: Who imports; under an access policy this needs an admin.
            progress: Told of each event.

        Returns:
            How many events of which models there are in the file, and how many were new.

        Raises:
            InvalidInputError: It is no exported history, or of a later release.
            IntegrityError: It is cut or damaged. Nothing was written.
            ConflictError: A model has another history here. Nothing was written.
            AccessDeniedError: The access policy does not let the actor import.
        """
        policy = self.access_policy()
        if policy is not None:
            policy.check(self.actor(actor), Action.ADMINISTER, POLICY_LOG)
        return transfer.import_logs(self._store, self._append, source, progress)

    def verify_log(self, model: str, *, progress: Progress = silent) -> LogReport:
        """Checks the log of one model: numbers, tokens, digests and the chain.

        Args:
            model: Name of the model.
            progress: Told of each event.

        Returns:
            The report; the log holds if it has no findings.

        Raises:
            NotFoundError: There is neither a head nor an event of the model.
        """
        if model != POLICY_LOG:
            names.check_model_name(model)
        seq, digest = self._head_end(model)
        report = verify.verify_log(self._store, model, seq, progress)
        if not report.events and not seq:
            raise NotFoundError(
                f"no model {model!r}",
                "nothing was registered under this name",
                "list the models with 'tfx-registry models'",
            )
        if seq == report.seq and digest != report.digest and not report.findings:
            problem = "it and the head disagree on its digest: one of them was edited"
            found = Damage("log.end", report.model, f"event {seq}, the last", problem)
            return LogReport(
                report.model, report.events, seq, report.digest, (found,), report.unknown_kinds
            )
        return report

    def verify_logs(self, *, progress: Progress = silent) -> list[LogReport]:
        """Checks the logs of everything in the store, the access policy included.

        Args:
            progress: Told of each event.
        """
        return [self.verify_log(model, progress=progress) for model in self._store.scan()]

    def fsck(
        self, model: str | None = None, *, repair: bool = False, progress: Progress = silent
    ) -> FsckReport:
        """Checks that head, versions and content index are what the log says, and the log itself.

        Args:
            model: Name of the model; None means everything in the store.
            repair: Whether to rebuild from the log what is wrong beside it. The log itself is
                never changed, and nothing is rebuilt from a log that is damaged.
            progress: Told of each event that is read.

        Returns:
            What is wrong, and what was repaired.

        Raises:
            NotFoundError: There is nothing of the model in the store.
        """
        if model is not None and model != POLICY_LOG:
            names.check_model_name(model)
        report = (fsck.repair if repair else fsck.check)(self._store, model, progress)
        if model is not None and not report.models and not report.findings:
            raise NotFoundError(
                f"no model {model!r}",
                "nothing is stored under this name",
                "list the models with 'tfx-registry models'",
            )
        return report

    def served(
        self,
        model: str,
        on: str,
        *,
        alias: str = "production",
        destination: str | None = None,
    ) -> list[Served]:
        """Tells what served at an instant, since when, why, and what it came from.

        Args:
            model: Name of the model.
            on: A day in UTC such as `2026-11-21`, or a time such as `2026-11-21T10:00`.
            alias: The alias under which it served.
            destination: A serving base directory, instead of the alias.

        Returns:
            One answer for each directory, the newest promotion first: what served at that time,
            or at the end of that day. For a day, what served earlier on it follows, the last
            first; its `until` says when it ended.

        Raises:
            InvalidInputError: `on` is neither a date nor a time.
            IntegrityError: The log is damaged.
            NotFoundError: There is no such model, or nothing served there then.
        """
        names.check_alias(alias)
        instant = served.parse_instant(on)
        return served.served_at(
            self._store,
            self.head(model).model,
            instant,
            alias=alias,
            destination=destination,
            since=served.begin_of_day(on),
        )

    def _all_heads(self) -> list[Head]:
        try:
            return self._store.list_heads()
        except (ValueError, RecursionError) as error:
            raise IntegrityError(
                "cannot list the models", f"a head cannot be read: {error}",
                "see what is damaged with 'tfx-registry fsck'",
            ) from error  # fmt: skip

    def _head_end(self, model: str) -> tuple[int, str]:
        """Returns number and digest of the event that the head calls the last; 0 if it cannot."""
        record = self._store.read_raw_head(model)
        try:
            head = codec.decode(Head, codec.loads(record.text)) if record else None
        except (ValueError, RecursionError):
            return 0, ""  # that the head is damaged is fsck's to say
        return (head.seq, head.digest) if head else (0, "")
