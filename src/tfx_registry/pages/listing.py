"""Pages of models and of events, as the web page and its JSON list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfx_registry.errors import InvalidInputError
from tfx_registry.pages.view import RegistryView
from tfx_registry.records import Head
from tfx_registry.registry.events import Event

__all__ = [
    "EventPage",
    "ModelList",
    "head_json",
    "history_page",
    "integer",
    "model_list",
]

_MODELS = 50
_EVENTS = 100


@dataclass(frozen=True)
class ModelList:
    """One page of models.

    Attributes:
        heads: The models.
        page: Which page, counted from 1.
        pages: How many pages there are, at least one.
        count: How many models fit, on all pages.
        name: What their names must hold.
    """

    heads: Sequence[Head]
    page: int
    pages: int
    count: int
    name: str


@dataclass(frozen=True)
class EventPage:
    """One page of a history.

    Attributes:
        head: The model.
        events: The events, the newest first.
        before: Ask for what came before this event to get the next page; None at the end.
        newest: Whether it is the first page.
    """

    head: Head
    events: Sequence[Event]
    before: int | None
    newest: bool


def model_list(view: RegistryView, asked: Mapping[str, str]) -> ModelList:
    """Lists models.

    Args:
        view: The registry.
        asked: `name`, a part of the names, and `page`.

    Returns:
        The page; the last one where the number is too high.

    Raises:
        InvalidInputError: The page is no number from 1 on.
    """
    name = asked.get("name", "").strip()
    heads = [h for h in view.list_models() if name.casefold() in h.model.casefold()]
    pages = max(1, -(-len(heads) // _MODELS))
    page = min(integer(asked, "page", 1), pages)
    shown = heads[(page - 1) * _MODELS : page * _MODELS]
    return ModelList(shown, page, pages, len(heads), name)


def history_page(
    view: RegistryView, model: str, asked: Mapping[str, str], *, most: int = _EVENTS
) -> EventPage:
    """Reads a part of the history of a model; only that part is read.

    Args:
        view: The registry.
        model: Name of the model.
        asked: `before`, the number of an event, and `limit`.
        most: The highest limit.

    Returns:
        The page.

    Raises:
        InvalidInputError: What was asked is no number from 1 on.
        NotFoundError: There is no such model.
    """
    head = view.head(model)
    last = min(integer(asked, "before", head.seq + 1) - 1, head.seq)
    first = max(1, last - min(integer(asked, "limit", _EVENTS), most) + 1)
    events = view.events(model, first, last) if last else []
    return EventPage(head, events[::-1], first if first > 1 else None, last == head.seq)


def integer(asked: Mapping[str, str], name: str, default: int) -> int:
    """Reads a number from 1 on; raises InvalidInputError where it is none."""
    text = asked.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and int(text[:19]) > 0 and len(text) < 19):
        raise InvalidInputError(
            f"invalid {name} {text[:40]!r}", "it is a whole number from 1 on", "correct the address"
        )
    return int(text)


def head_json(head: Head) -> dict[str, Any]:
    """Writes the head of a model as a JSON object."""
    return {
        "model": head.model,
        "versions": head.count,
        "latest": head.latest,
        "aliases": dict(head.aliases),
        "serving": [
            {"number": d.number, "alias": d.alias, "destination": d.destination, "time": d.time}
            for d in head.deployments.values()
        ],
        "created": head.created,
        "updated": head.updated,
        "events": head.seq,
    }
