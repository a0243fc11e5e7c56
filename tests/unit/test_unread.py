"""A version that is read at the first look is, in every other way, the version."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tfx_registry import codec
from tfx_registry.errors import IntegrityError
from tfx_registry.records import Metric, ModelFacts, ModelFormat, Version, VersionState
from tfx_registry.registry.unread import UnreadVersion, unread
from tfx_registry.registry.version_text import read_short, version_text

FACTS = ModelFacts("/models/1", ModelFormat.SAVED_MODEL, "ab", "cd", 9, 1)
VERSION = Version(
    "penguin", 7, FACTS, "2026-01-01T00:00:00.000000Z", "ada",
    metrics=(Metric("auc", 0.1 + 0.2),), labels={"team": "a"}, description="d",
)  # fmt: skip
#: As it is written, and as releases up to 0.1 wrote it.
TEXT = version_text(VERSION)
OLD_TEXT = codec.dumps(VERSION)


@dataclasses.dataclass
class Stored:
    """A record of version 7 that knows how often all of it was read."""

    text: str
    model: str = "penguin"
    number: int = 7
    reads: int = 0

    def read_short(self) -> dict[str, Any] | None:
        return read_short(self.text)

    def read(self) -> Version:
        self.reads += 1
        return codec.decode(Version, codec.loads(self.text))


def fresh(text: str = TEXT, number: int = 7) -> Version:
    made = unread(Stored(text, number=number))
    assert type(made) is UnreadVersion
    return made


LOOKS: dict[str, Callable[[Version], Any]] = {
    "equality": lambda v: v == VERSION,
    "equality from the other side": lambda v: v == VERSION,
    "equality of two": lambda v: v == fresh(),
    "inequality": lambda v: v != VERSION,
    "place in a list": lambda v: [VERSION].index(v),
    "repr": repr,
    "str": str,
    "pickle": lambda v: pickle.loads(pickle.dumps(v)),
    "copy": copy.copy,
    "deep copy": copy.deepcopy,
    "replace": lambda v: dataclasses.replace(v, description="e"),
    "as a dictionary": dataclasses.asdict,
    "vars": lambda v: dict(vars(v)),
    "field with a default": lambda v: v.description,
    "field without": lambda v: v.number,
    "property": lambda v: v.state,
    "method": lambda v: v.metric("auc"),
    "text": codec.dumps,
    "class": lambda v: v.__class__,
    "isinstance": lambda v: isinstance(v, Version),
}


@pytest.mark.parametrize("text", [TEXT, OLD_TEXT], ids=["", "old"])
@pytest.mark.parametrize("before", [None, "number", "uri", "metrics"])
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_every_look_sees_the_version(
    look: Callable[[Version], Any], before: str | None, text: str
) -> None:
    version = fresh(text)
    if before:
        getattr(version, before)
    seen = look(version)
    assert seen == look(VERSION)
    assert type(seen) is type(look(VERSION))


def test_what_a_list_shows_is_read_without_the_rest() -> None:
    record = Stored(TEXT)
    version = unread(record)
    for look in (lambda v: v.ref, lambda v: v.state, lambda v: v.time, lambda v: v.actor,
                 lambda v: v.description, lambda v: v.labels, lambda v: v.aliases,
                 lambda v: v.uri, lambda v: v.run_id):  # fmt: skip
        assert look(version) == look(VERSION)
    assert record.reads == 0
    assert version.metrics == VERSION.metrics
    assert version.uri == VERSION.uri
    assert record.reads == 1


def test_it_becomes_a_plain_version() -> None:
    version = fresh()
    assert version.state is VersionState.REGISTERED
    assert version.facts == FACTS
    assert type(version) is Version
    with pytest.raises(dataclasses.FrozenInstanceError):
        version.description = "other"  # type: ignore[misc]
    with pytest.raises(TypeError, match="does not change"):
        version.labels["team"] = "b"  # type: ignore[index]


def test_it_cannot_be_changed_before_it_is_read() -> None:
    version = fresh()
    with pytest.raises(dataclasses.FrozenInstanceError):
        version.description = "other"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del version.description  # type: ignore[misc]
    assert version == VERSION


def test_it_hashes_as_the_version_does() -> None:
    plain = dataclasses.replace(VERSION, facts=FACTS)
    for version in (plain, fresh()):
        with pytest.raises(TypeError, match="unhashable"):  # it holds dictionaries
            hash(version)


@pytest.mark.parametrize(
    ("text", "number", "why"),
    [
        ("", 7, "Expecting value"),
        ("{}", 7, "model must be given"),
        (TEXT.replace('"number":7', '"number":"7"'), 7, "number must be a whole number"),
        (OLD_TEXT[:-1], 7, "delimiter"),
        (TEXT[: TEXT.index("uri")], 7, "Unterminated"),
        ("[" * 100_000, 7, "recursion"),
        (TEXT, 8, "it is that of version 7"),
        (OLD_TEXT, 8, "it is that of version 7"),
    ],
)
@pytest.mark.parametrize(
    "look", [repr, lambda v: v.serving, lambda v: v.time, lambda v: v == VERSION]
)
def test_damage_is_named_at_each_look(
    text: str, number: int, why: str, look: Callable[[Version], Any]
) -> None:
    version = fresh(text, number)
    for _ in range(2):
        with pytest.raises(IntegrityError, match=rf"cannot read version {number} of 'penguin'"):
            look(version)
    with pytest.raises(IntegrityError, match=why):
        look(version)


def test_damage_past_what_is_looked_at_is_named_when_that_is() -> None:
    version = fresh(TEXT[:-1])
    assert version.time == VERSION.time
    for look in (lambda v: v.metrics, repr, lambda v: v == VERSION, lambda v: v.digest):
        with pytest.raises(IntegrityError, match="cannot read version 7 of 'penguin'"):
            look(version)
    assert version.actor == "ada"


def test_threads_that_look_at_once_see_all_of_it() -> None:
    for _ in range(200):
        version, seen = fresh(), []
        gate = threading.Barrier(4)

        def look(version: Version = version, gate: threading.Barrier = gate) -> None:
            gate.wait()
            digest = version.digest if len(seen) % 2 else "ab"  # noqa: B023
            seen.append((version.description, version.labels, digest, version.uri))  # noqa: B023

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [("d", {"team": "a"}, "ab", "/models/1")] * 4
