"""Model servers that are asked whether they serve a version; what they say is recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_registry import codec
from tfx_registry.errors import InvalidInputError, NotServedError
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.objects import ObjectUrl
from tfx_registry.serving.status_client import ModelServer
from tfx_registry.serving.verification import Before, ServerReport, wait_until_available

__all__ = ["Servers", "check_servers"]


@dataclass(frozen=True)
class Servers:
    """Which model servers to ask, how long, and what to do when they do not serve a version.

    Attributes:
        urls: REST URLs, such as `http://host:8501`.
        deadline_seconds: How long to wait until all of them serve the version, and again until
            all of them know its label.
        poll_seconds: Pause between two rounds of questions.
        no_wait: Whether to move a label without having asked; only with a model config. The
            version must have been listed before, and it is on you to know that servers have loaded
            it; or the label is new, and servers run with
            --allow_version_labels_for_unavailable_models.
        keep_failed: Whether a version that they do not serve stays where it is; otherwise what
            served before serves again.
    """

    urls: tuple[str, ...] = ()
    deadline_seconds: float = 300.0
    poll_seconds: float = 0.5
    no_wait: bool = False
    keep_failed: bool = False

    def __post_init__(self) -> None:
        """Checks URLs and numbers."""
        for url in self.urls:
            ModelServer(url, "model")
        if not (self.deadline_seconds > 0 and self.poll_seconds > 0):
            raise InvalidInputError(
                "invalid options for model servers",
                f"deadline_seconds is {self.deadline_seconds!r} and poll_seconds "
                f"{self.poll_seconds!r}",
                "give more than 0 seconds",
            )

    def clients(self, name: str) -> list[ModelServer]:
        """Returns a client for each server.

        Args:
            name: Name of the model in the servers, where a URL does not say it.
        """
        return [ModelServer(url, name) for url in self.urls]

    def to_json(self) -> str:
        """Writes the options as JSON text."""
        return codec.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> Servers:
        """Reads what `to_json` wrote.

        Raises:
            InvalidInputError: It is something else.
        """
        try:
            return codec.decode(cls, json.loads(text), strict=True)
        except ValueError as error:
            raise InvalidInputError("invalid servers", str(error), "correct them") from error


def check_servers(
    registry: ModelRegistry,
    model: str,
    number: int,
    base: Path | ObjectUrl,
    servers: Servers,
    clients: Sequence[ModelServer],
    before: Before,
    actor: str | None,
) -> None:
    """Waits until servers serve a version, and records what they said.

    Args:
        registry: The registry.
        model: Name of the model.
        number: The version.
        base: The serving base directory.
        servers: How long to wait.
        clients: The servers; at least one.
        before: What they said before anything was changed, see `look`.
        actor: Who.

    Raises:
        NotServedError: A server does not serve it.
    """

    def record(reports: Sequence[ServerReport], *, available: bool) -> None:
        said = [str(report) for report in reports]
        registry.record_servers(model, number, str(base), said, available=available, actor=actor)

    try:
        reports = wait_until_available(
            clients,
            number,
            deadline_seconds=servers.deadline_seconds,
            before=before,
            poll_seconds=servers.poll_seconds,
        )
    except NotServedError as error:
        record(getattr(error, "reports", ()), available=False)
        raise
    record(reports, available=True)
