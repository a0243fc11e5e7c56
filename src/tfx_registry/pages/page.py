"""Writes the page about a model: one HTML file that needs nothing else and asks for nothing."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from tfx_registry.pages.document import model_document
from tfx_registry.records import format_slice
from tfx_registry.registry.lineage import Lineage
from tfx_registry.text import format_number, printable

__all__ = [
    "assets",
    "environment",
    "model_page",
    "render_page",
    "script_json",
    "security_policy",
    "short",
    "single_policy",
]

#: The parts of the script, in the order in which they are joined.
SCRIPTS = (
    "core.js",
    "range.js",
    "timeline.js",
    "metrics.js",
    "versions.js",
    "compare.js",
    "lineage.js",
    "history.js",
    "main.js",
)
#: Those of the page about the lineage of one version.
SINGLE = ("core.js", "lineage.js", "single.js")
#: Longer texts are cut in tables.
_SHORT = 160
#: So many reasons stand in the table; all of them in the version's own part of the page.
_REASONS = 3


def model_page(
    registry: Lineage, model: str, *, made: str | None = None, newest: int | None = None
) -> str:
    """Writes the page about a model.

    Args:
        registry: The registry; nothing is written to it.
        model: Name of the model.
        made: The time of the page in UTC, as stored times are written; None means now.
        newest: Only so many versions, the newest; None means all.

    Returns:
        The HTML text. It loads nothing, so it can be mailed, archived, or opened from a disk.

    Raises:
        NotFoundError: There is no such model.
    """
    return render_page(model_document(registry, model, made=made, newest=newest))


def render_page(document: Mapping[str, Any], *, live: Mapping[str, str] | None = None) -> str:
    """Writes the page about a model from its document.

    Args:
        document: What `model_document` returned. Its texts may hold anything; they are escaped.
        live: Addresses that a served page may use: `home`, `base` of the model's pages and `api`;
            None for a file, which knows no server.

    Returns:
        The HTML text.
    """
    last = {decision["number"]: decision for decision in document["decisions"]}
    overridden = {override["number"] for override in document["overrides"]}
    rolled_back = {
        period["number"] for period in document["periods"] if period["ended_by"] == "rolled_back"
    }
    rows = [
        {
            "version": version,
            "decision": last.get(version["number"]),
            "marks": _marks(version, overridden, rolled_back),
        }
        for version in reversed(document["versions"])
    ]
    return (
        environment()
        .get_template("model.html.j2")
        .render(
            document=document,
            rows=rows,
            other_aliases=_other_aliases(document),
            causes={period["event"]: period["reason"] for period in document["periods"]},
            reasons=_REASONS,
            live=live,
            data=script_json(document),
            address=script_json(live),
            assets=assets(),
            policy=security_policy(live=live is not None),
        )
    )


def _other_aliases(document: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Returns the aliases of which the deployments say nothing, by name."""
    told = {(d["alias"], d["number"]) for d in (*document["serving"], *document["trials"])}
    return sorted(pair for pair in document["aliases"].items() if pair not in told)


def _marks(version: Mapping[str, Any], overridden: set[int], rolled_back: set[int]) -> list[str]:
    """Says beside the state of a version what it does not say."""
    number = version["number"]
    marks = [f"@{alias}" for alias in version.get("aliases", ())]
    marks += ["rolled back"] if number in rolled_back and not version.get("serving") else []
    marks += ["overridden"] if number in overridden else []
    marks += ["bytes gone"] if version.get("bytes_gone") else []
    return marks


def script_json(value: Any) -> Markup:
    """Writes a value as JSON that can stand inside a script element.

    Args:
        value: A JSON value; its texts may hold anything, `</script>` as well.

    Returns:
        The text, in which no character can end the element or begin a comment.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # Half of a surrogate pair cannot be written in UTF-8.
    return Markup(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))


class Assets:
    """Style and script of the pages, with the digests by which the browser is told to trust them.

    Attributes:
        style: The style sheet.
        script: The script of the model page.
        single: The script of the page about the lineage of one version.
    """

    def __init__(self) -> None:
        self.style = Markup(_read("page.css"))
        self.script = _joined(SCRIPTS)
        self.single = _joined(SINGLE)


@functools.cache
def assets() -> Assets:
    """Returns style and script; they are read once."""
    return Assets()


@functools.cache
def security_policy(*, live: bool) -> str:
    """Returns the Content-Security-Policy of the pages: our own script and style, nothing else.

    Args:
        live: Whether the page is served and may ask its own server.
    """
    return _policy(assets().script, live=live)


@functools.cache
def single_policy() -> str:
    """Returns the Content-Security-Policy of the page about the lineage of one version."""
    return _policy(assets().single, live=True)


def _policy(script: str, *, live: bool) -> str:
    allowed = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(assets().style),
        "connect-src": "'self'" if live else "'none'",
        "base-uri": "'none'",
        "form-action": "'self'" if live else "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in allowed.items())


def short(text: str, length: int = _SHORT) -> str:
    """Cuts what is too long for a table, and makes characters visible that steer the display."""
    shown = printable(text)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


@functools.cache
def environment() -> jinja2.Environment:
    """Returns what writes the templates; it escapes everything that is not markup of ours."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("tfx_registry.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        short=short,
        visible=printable,
        moment=_moment,
        counted=_counted,
        slice_text=format_slice,
        number_text=format_number,
    )
    return made


def _moment(text: str) -> str:
    return f"{text[:16].replace('T', ' ')} UTC"


def _counted(things: Sequence[Any] | int, word: str) -> str:
    count = things if isinstance(things, int) else len(things)
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _joined(names: Sequence[str]) -> Markup:
    parts = "\n".join(_read(name) for name in names)
    return Markup(f'(function () {{\n"use strict";\n{parts}\n}})();\n')


def _read(name: str) -> str:
    return (resources.files("tfx_registry.pages") / "assets" / name).read_text("utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
