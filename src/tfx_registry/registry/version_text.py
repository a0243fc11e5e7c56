"""The text of a version: what lists show stands first, so that it can be read without the rest.

It is one JSON object, and whoever reads it as such need not know the order:

    {<short fields>,"origin":{"run_id":...,...},"facts":{"uri":...,...},<all others>}

A page of a hundred versions is 130 kB of such text. To read what a list shows of them takes a sixth
of the time that the whole takes. Texts of releases up to 0.1 have their fields in alphabetical
order; they are read as a whole, and get this order with the next event of the version.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from tfx_registry import codec, compiled
from tfx_registry.records import Version

__all__ = ["RUN_ID", "SHORT_FIELDS", "URI", "read_short", "version_text"]

#: Fields that stand first; those of them that hold their default are left out. Texts are kept for
#: ever: more may be added at the end of a list of a later release, none may be taken away.
SHORT_FIELDS = (
    "actor", "aliases", "approvals", "archived", "decision", "description", "labels", "model",
    "number", "semantic_version", "seq", "serving", "time",
)  # fmt: skip

#: What `read_short` calls `origin.run_id` and `facts.uri`.
RUN_ID, URI = "run_id", "uri"

# Between a comma and the name of a field only the quote that opens it can stand. Where one of these
# is the value of another field, or part of a text, its quotes are escaped. Mappings with any key
# before the facts (labels, libraries) hold texts, no objects.
_ORIGIN = ',"origin":{"run_id":'
_FACTS = ',"facts":{"uri":'

#: Reads the value that begins at a place; returns it and where it ends.
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def version_text(version: Version) -> str:
    """Writes a version.

    Args:
        version: The version.

    Returns:
        The text. Numbers and texts are written as `codec.dumps` does.
    """
    data = codec.encode(version)
    text = _open({name: data.pop(name) for name in SHORT_FIELDS if name in data})
    if "run_id" in data.get("origin", ()):
        text += _first(_ORIGIN, data.pop("origin"), "run_id")
    text += _first(_FACTS, data.pop("facts"), "uri")
    return f"{text},{codec.dumps(data)[1:]}" if data else text + "}"


def read_short(text: str) -> dict[str, Any] | None:
    """Reads what stands first in the text of a version.

    Args:
        text: The text, or as much of its beginning as there is at hand.

    Returns:
        The `SHORT_FIELDS` by name, as `Version` has them, and under `RUN_ID` and `URI` what is
        called so; None where the text must be read as a whole. What follows is not looked at.
    """
    facts = text.find(_FACTS)
    if facts < 0:
        return None
    origin = text.find(_ORIGIN, 0, facts)
    head = text[: facts if origin < 0 else origin] + "}"
    try:
        # It ends there only if no object or list is left open.
        data, end = _scan(head, 0)
        uri = _scan(text, facts + len(_FACTS))[0]
        run_id = _scan(text, origin + len(_ORIGIN))[0] if origin >= 0 else ""
        if end != len(head) or uri.__class__ is not str or run_id.__class__ is not str:
            return None
        found = _reader()(data)
    except (ValueError, RecursionError, StopIteration, *compiled.MISFITS):
        return None
    found[RUN_ID], found[URI] = run_id, uri
    return found


@functools.cache
def _reader() -> Callable[[Any], dict[str, Any]]:
    """Makes what reads the short fields, as a version's own reader does."""
    return compiled.fields_reader(Version, SHORT_FIELDS)


def _open(data: dict[str, Any]) -> str:
    """Writes an object without the brace that closes it."""
    return codec.dumps(data)[:-1]


def _first(opening: str, data: dict[str, Any], name: str) -> str:
    """Writes an object with one of its fields first, after what opens it."""
    text = opening + codec.dumps(data.pop(name))
    return f"{text},{codec.dumps(data)[1:]}" if data else text + "}"
