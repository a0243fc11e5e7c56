"""The fields that a search may name: what they mean, their kind, and how to read them."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tfx_registry.errors import InvalidExpressionError
from tfx_registry.names import model_key
from tfx_registry.records import (
    LineageSource,
    ModelFormat,
    Override,
    Verdict,
    Version,
    VersionState,
)
from tfx_registry.registry.search_tokens import fail, shorten
from tfx_registry.registry.search_tree import FieldRef

__all__ = ["FIELDS", "SEVERAL", "Field", "FieldKind", "Reader", "bind", "suggest"]

#: Reads a field of a version: text, a number, several of these, or None where it is missing.
Reader = Callable[[Version], Any]


class FieldKind(enum.Enum):
    """What may be asked about a field."""

    TEXT = "text"
    VALUE = "text that may hold a number"
    NUMBER = "a number"
    TIME = "a time"
    CHOICE = "one of a few words"
    SEMANTIC_VERSION = "a semantic version"
    MODEL = "the name of a model"
    MANY = "several texts"
    TIMES = "several times"


#: Kinds of which a version may have several values; a condition is about one of them.
SEVERAL = frozenset({FieldKind.MANY, FieldKind.TIMES})


@dataclass(frozen=True)
class Field:
    """One field, or one family of fields such as `labels.KEY`.

    Attributes:
        name: As written; a part in capitals stands for any name.
        kind: What may be asked about it.
        meaning: For the documentation.
        read: Gets a version and what the expression gave for the parts in capitals.
        choices: The words of a choice.
    """

    name: str
    kind: FieldKind
    meaning: str
    read: Callable[[Version, FieldRef], Any]
    choices: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts between the dots."""
        return tuple(self.name.split("."))


def _words(choices: Iterable[enum.Enum]) -> tuple[str, ...]:
    return tuple(str(choice.value) for choice in choices)


def _rest(ref: FieldRef, start: int) -> str:
    """Names with dots need no quotes: labels.a.b is the label `a.b`."""
    return ".".join(ref.path[start:])


def _sources(version: Version, ref: FieldRef) -> list[LineageSource]:
    return [source for source in version.sources if source.key == ref.path[1]]


def _source_properties(version: Version, ref: FieldRef) -> list[str]:
    name = _rest(ref, 2)
    known = ({"digest": s.digest, **s.properties} for s in _sources(version, ref))
    return [properties[name] for properties in known if properties.get(name)]


def _overrides(version: Version) -> list[Override]:
    """Returns all overrides that no later one has replaced, held or expired."""
    given = (version.override, *version.other_overrides)
    return [o for o in given if o is not None and version.override_for(o.alias) is o]


def _plain(
    name: str,
    kind: FieldKind,
    meaning: str,
    read: Reader,
    choices: Iterable[enum.Enum] = (),
) -> Field:
    # Empty text means "not given" in the records.
    return Field(name, kind, meaning, lambda v, _: _given(read(v)), _words(choices))


def _given(value: Any) -> Any:
    return None if value == "" else value


def _of_decision(name: str, kind: FieldKind, meaning: str) -> Field:
    choices = _words(Verdict) if kind is FieldKind.CHOICE else ()

    def read(version: Version, _: FieldRef) -> Any:
        value = getattr(version.decision, name, None)
        return value.value if isinstance(value, enum.Enum) else value

    return Field(f"decision.{name}", kind, meaning, read, choices)


def _of_origin(name: str, meaning: str) -> Field:
    return _plain(f"origin.{name}", FieldKind.TEXT, meaning, lambda v: getattr(v.origin, name))


K = FieldKind
FIELDS: tuple[Field, ...] = (
    _plain("model", K.MODEL, "name of the model, upper or lower case", lambda v: v.model),
    _plain("number", K.NUMBER, "number of the version", lambda v: v.number),
    _plain("state", K.CHOICE, "where it stands now", lambda v: v.state.value, VersionState),
    _plain("actor", K.TEXT, "who registered it", lambda v: v.actor),
    _plain("time", K.TIME, "when it was registered", lambda v: v.time),
    _plain("description", K.TEXT, "free text", lambda v: v.description),
    _plain("semantic_version", K.SEMANTIC_VERSION, "as registered", lambda v: v.semantic_version),
    _plain("aliases", K.MANY, "aliases that point at it now", lambda v: v.aliases),
    _plain("serving", K.MANY, "directories where it serves now", lambda v: v.serving),
    Field("labels.KEY", K.VALUE, "a label", lambda v, r: v.labels.get(_rest(r, 1))),
    Field(
        "metrics.NAME",
        K.NUMBER,
        "a metric on the whole data, or on a slice: metrics.auc[island='Dream', sex='female']",
        lambda v, r: v.metric(_rest(r, 1), r.slice),
    ),
    Field(
        "hyperparameters.NAME",
        K.VALUE,
        "a parameter of the training",
        lambda v, r: v.hyperparameters.get(_rest(r, 1)),
    ),
    _of_decision("verdict", K.CHOICE, "what the gate last said"),
    _of_decision("baseline", K.NUMBER, "version that it was compared with"),
    _of_decision("alias", K.TEXT, "the alias that it was decided for"),
    _of_decision("actor", K.TEXT, "who decided"),
    _of_decision("time", K.TIME, "when it was decided"),
    _of_decision("reasons", K.MANY, "why it was blocked"),
    Field(
        "approved_by",
        K.MANY,
        "who approved it",
        lambda v, _: [a.actor for a in v.approvals if a.approved],
    ),
    Field(
        "rejected_by",
        K.MANY,
        "who rejected it",
        lambda v, _: [a.actor for a in v.approvals if not a.approved],
    ),
    Field(
        "override.actor",
        K.MANY,
        "who overrode the gate",
        lambda v, _: [override.actor for override in _overrides(v)],
    ),
    Field(
        "override.alias",
        K.MANY,
        "under which aliases it may serve; null for any",
        lambda v, _: [override.alias or None for override in _overrides(v)],
    ),
    Field(
        "override.expires",
        K.TIMES,
        "how long that holds",
        lambda v, _: [override.expires for override in _overrides(v)],
    ),
    _plain("sources", K.MANY, "URIs that it came from", lambda v: [s.uri for s in v.sources]),
    Field(
        "sources.KEY",
        K.MANY,
        "URIs in one role, such as sources.examples",
        lambda v, r: [source.uri for source in _sources(v, r)],
    ),
    Field(
        "sources.KEY.PROPERTY",
        K.MANY,
        "a property of them: sources.examples.span, sources.schema.digest",
        _source_properties,
    ),
    _of_origin("pipeline_name", "the TFX pipeline"),
    _of_origin("run_id", "the run of the pipeline"),
    _of_origin("node_id", "the node that registered"),
    _of_origin("artifact_uri", "the Model artifact"),
    _of_origin("code_revision", "revision of the code"),
    Field(
        "origin.libraries.NAME",
        K.TEXT,
        "version of a library",
        lambda v, r: v.origin.libraries.get(_rest(r, 2)),
    ),
    _plain("digest", K.TEXT, "digest of the bytes; like 'ab12%' for its start", lambda v: v.digest),
    _plain("uri", K.TEXT, "where the bytes lay", lambda v: v.uri),
    _plain("format", K.CHOICE, "format of the bytes", lambda v: v.facts.format.value, ModelFormat),
    _plain("size_bytes", K.NUMBER, "size of all files", lambda v: v.facts.size_bytes),
    _plain("file_count", K.NUMBER, "number of files", lambda v: v.facts.file_count),
    _plain("signatures", K.MANY, "names of its signatures", lambda v: list(v.facts.signatures)),
    _plain(
        "tensorflow_version",
        K.TEXT,
        "TensorFlow that wrote it",
        lambda v: v.facts.tensorflow_version,
    ),
    _plain(
        "same_bytes_as",
        K.NUMBER,
        "newest earlier version with the same bytes",
        lambda v: v.same_bytes_as,
    ),
)


#: What other registries, and people, call a field.
_OTHER_WORDS = {
    "alias": "aliases",
    "approvals": "approved_by",
    "approved": "approved_by",
    "author": "actor",
    "created": "time",
    "creator": "actor",
    "data": "sources.KEY",
    "libraries": "origin.libraries.NAME",
    "name": "model",
    "parameters": "hyperparameters.NAME",
    "params": "hyperparameters.NAME",
    "pipeline": "origin.pipeline_name",
    "revision": "origin.code_revision",
    "run": "origin.run_id",
    "size": "size_bytes",
    "stage": "state",
    "status": "state",
    "tag": "labels.KEY",
    "tags": "labels.KEY",
    "user": "actor",
    "verdict": "decision.verdict",
    "version": "number",
}


def bind(ref: FieldRef) -> tuple[Field, Reader]:
    """Finds the field that an expression means.

    Args:
        ref: The field as written.

    Returns:
        The field, and a function that reads it from a version.

    Raises:
        InvalidExpressionError: There is no such field.
    """
    found = [candidate for candidate in FIELDS if _fits(candidate.parts, ref.path)]
    if not found:
        raise _unknown(ref)
    best = max(found, key=lambda candidate: (len(candidate.parts), candidate.name.islower()))
    if ref.slice and best.name != "metrics.NAME":
        raise fail(
            ref.position, f"{best.name} has no slices", "only metrics.NAME[feature='value'] does"
        )
    if best.kind is FieldKind.MODEL:
        return best, lambda version: model_key(version.model)
    return best, lambda version: best.read(version, ref)


def suggest(word: str, known: Sequence[str]) -> str:
    """Returns "did you mean ...?" for the closest known word, else all that are known."""
    close = difflib.get_close_matches(word[:60], known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def _fits(parts: Sequence[str], path: Sequence[str]) -> bool:
    fixed = [part for part in parts if part.islower()]
    if tuple(path[: len(fixed)]) != tuple(fixed):
        return False
    if len(fixed) == len(parts):
        return len(path) == len(parts)
    # The last part in capitals takes what is left, dots and all; one before it takes one name.
    return len(path) >= len(parts)


def _unknown(ref: FieldRef) -> InvalidExpressionError:
    known = sorted({field.name for field in FIELDS})
    families = {field.parts[0]: field.name for field in FIELDS if not field.name.islower()}
    if len(ref.path) == 1 and ref.path[0] in families:
        return fail(
            ref.position,
            f"{ref.path[0]} needs a name after a dot",
            f"write {families[ref.path[0]]}",
        )
    written = ".".join(ref.path)
    meant = _OTHER_WORDS.get(ref.path[0].lower())
    guess = f"did you mean {meant}?" if meant else suggest(written, known)
    if guess.startswith("known"):
        guess = suggest(ref.path[0], sorted({field.parts[0] for field in FIELDS}))
    return fail(ref.position, f"there is no field {shorten(written)}", guess)
