"""Input at the edges, on every kind of store: kept exactly, or refused and nothing written."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry, codec, names
from tfx_registry.errors import (
    InvalidInputError,
    InvalidNameError,
    RegistryError,
    StoreUnavailableError,
)
from tfx_registry.records import Metric, ModelFacts, ModelFormat, Verdict
from tfx_registry.registry import fold
from tfx_registry.registry.events import Decided, Event, Registered
from tfx_registry.testing import MariaDbServer, PostgreSqlServer

MAX_TEXT_LENGTH = 1_000_000
NUMBERS = (
    math.nan, math.inf, -math.inf, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 1e-7,
    123456789.123456789, float(2**53 + 1), 1 / 3,
)  # fmt: skip
BAD_NAMES = (
    "", " ", "x" * 300, "../a", "a//b", "a\\b", "a'b", 'a"b', "a\x00b", "a\nb", "a\x1bb", "é",
    "a;b", "a%b", "\ud800", None, 7, b"a",
)  # fmt: skip
BAD_MODELS = (*BAD_NAMES, "a/b", "a..b")  # which are labels
BAD_ALIASES = (*BAD_MODELS, "latest", "LATEST", "1", "12", "1st", "Production", "a:b", "a@b")
BAD_VALUES = ("x" * 1025, "a\x00b", "a\nb", "\x1b[31m", "\ud800", None, 7)


@pytest.fixture
def filled(registry: ModelRegistry, plain_model: Path) -> ModelRegistry:
    """A registry with one version."""
    registry.register("Fraud", plain_model, actor="ada")
    return registry


def everything(registry: ModelRegistry) -> str:
    return codec.dumps(
        [[head, [e.text for e in registry.history(head.model)]] for head in registry.list_models()]
    )


def refused(registry: ModelRegistry, act: Callable[[], object]) -> None:
    """One error in one short line, which is the caller's fault; nothing is written."""
    before = everything(registry)
    with pytest.raises(InvalidInputError) as caught:
        act()
    text = str(caught.value)
    text.encode("utf-8")
    assert caught.value.why
    assert len(text) < 700
    assert "\n" not in text
    assert everything(registry) == before


def test_names_that_differ_in_case_are_one_model(filled: ModelRegistry, plain_model: Path) -> None:
    for name in ("fraud", "FRAUD", "fRaUd"):
        version = filled.register(name, plain_model, actor="ada")
        assert version.model == "Fraud"
        filled.set_alias(name, "champion", version.number)
        filled.set_label(name, version.number, "by", name)
        filled.approve(name, version.number, actor="bob")
    assert [head.model for head in filled.list_models()] == ["Fraud"]
    assert [v.number for v in filled.list_versions("FRAUD")] == [4, 3, 2, 1]
    assert filled.resolve("fraud@champion") == filled.get("FRAUD", 4)
    assert {event.model for event in filled.history("fraud")} == {"Fraud"}
    # Labels and aliases are told apart by case, or refused.
    filled.set_label("fraud", 1, "Team", "A")
    filled.set_label("fraud", 1, "team", "a")
    assert filled.get("fraud", 1).labels == {"Team": "A", "team": "a"}
    assert filled.fsck().findings == ()


def test_names_that_break_the_grammar(filled: ModelRegistry, plain_model: Path) -> None:
    given: Any
    for given in BAD_MODELS:
        refused(filled, lambda n=given: filled.register(n, plain_model))
        refused(filled, lambda n=given: filled.set_alias(n, "champion", 1))
    for given in BAD_NAMES:
        refused(filled, lambda n=given: filled.set_label("fraud", 1, n, "x"))
    for given in BAD_ALIASES:
        refused(filled, lambda a=given: filled.set_alias("fraud", a, 1))
        refused(filled, lambda a=given: filled.remove_alias("fraud", a))
    for given in BAD_VALUES:
        refused(filled, lambda v=given: filled.set_label("fraud", 1, "key", v))
        refused(filled, lambda v=given: filled.register("fraud", plain_model, labels={"key": v}))
    for given in ("v1", "1.0", "1.0.0\n", "x" * 300, "1.0.0-\x00"):
        refused(filled, lambda v=given: filled.register("fraud", plain_model, semantic_version=v))
    for given in (0, -1, 2**63, 1.0, True, "1"):
        refused(filled, lambda n=given: filled.set_alias("fraud", "champion", n))


def test_text_that_no_store_could_keep(filled: ModelRegistry, plain_model: Path) -> None:
    given: Any
    for given in ("\ud800", "x" * (MAX_TEXT_LENGTH + 1), 7, b"x"):
        refused(filled, lambda t=given: filled.register("fraud", plain_model, description=t))
        refused(filled, lambda t=given: filled.register("fraud", plain_model, reason=t))
        refused(filled, lambda t=given: filled.approve("fraud", 1, reason=t))
        refused(filled, lambda t=given: filled.approve("fraud", 1, actor=t))
    for given in ("a\x00b", "a\nb", "x" * 257):
        refused(filled, lambda a=given: filled.approve("fraud", 1, actor=a))


def bits(number: float) -> bytes:
    return b"nan" if math.isnan(number) else struct.pack("<d", number)


def test_numbers_come_back_bit_by_bit(filled: ModelRegistry, plain_model: Path, uri: str) -> None:
    metrics = [Metric(f"m{i}", number) for i, number in enumerate(NUMBERS)]
    given = filled.register("fraud", plain_model, metrics=metrics)
    digest = filled.get("fraud", 1).digest
    filled.record_decision(
        "fraud",
        Decided(1, Verdict.BLOCKED, digest, "production", metrics=tuple(metrics),
                report={"numbers": list(NUMBERS)}),
    )  # fmt: skip
    others = [] if uri == "memory://" else [ModelRegistry.open(uri, create=False)]
    for registry in (filled, *others):
        for number in (given.number, 1):
            read = registry.get("fraud", number).metrics
            assert [bits(m.value) for m in read] == [bits(number) for number in NUMBERS]
        event = registry.last_decision("fraud", 1)
        assert event is not None
        assert isinstance(event.payload, Decided)
        assert [bits(m.value) for m in event.payload.metrics] == [bits(n) for n in NUMBERS]
        assert registry.fsck().findings == ()
    for registry in others:
        registry.close()


def test_thousands_of_labels(filled: ModelRegistry, plain_model: Path) -> None:
    labels = {f"team/{i}": f"value \\ ' é {i}" for i in range(2000)}
    version = filled.register("fraud", plain_model, labels=labels)
    assert filled.get("fraud", version.number).labels == labels
    filled.set_label("fraud", version.number, "team/7", "other")
    filled.remove_label("fraud", version.number, "team/8")
    read = filled.get("fraud", version.number).labels
    assert (len(read), read["team/7"], read["team/1999"]) == (1999, "other", labels["team/1999"])
    (hit,) = filled.search("labels.'team/7' = 'other'")
    assert hit.number == version.number
    assert filled.fsck().findings == ()


def test_a_million_characters_of_four_bytes(
    filled: ModelRegistry, plain_model: Path, uri: str
) -> None:
    """Four megabytes; a gRPC server takes no more than that in one message, and says so."""
    text = "\U0001f427" * MAX_TEXT_LENGTH
    before = everything(filled)
    if uri.startswith("grpc"):
        with pytest.raises(RegistryError, match=r"larger than|too large"):
            filled.register("fraud", plain_model, description=text)
        assert everything(filled) == before
    else:
        filled.register("fraud", plain_model, description=text)
        assert filled.get("fraud", 2).description == text
    assert filled.register("fraud", plain_model).number == (2 if uri.startswith("grpc") else 3)


def test_a_semantic_version_that_is_none_in_an_old_log(
    filled: ModelRegistry, plain_model: Path
) -> None:
    """Whatever wrote it: the log is read, folded, checked, searched and gone on with."""
    head = filled.head("fraud")
    facts = ModelFacts("/m", ModelFormat.OTHER, "0" * 64, "1" * 64, 1, 1)
    event = Event(
        "Fraud", 2, filled._now(), "ada", "old", head.digest,
        Registered(2, facts, semantic_version="v1.0-final"),
    )  # fmt: skip
    after = fold.apply(fold.Snapshot(head), event)
    assert after.head is not None
    filled._store.append(event, after.head, list(after.versions.values()))
    assert filled.head("fraud").semantic_versions == {}
    assert filled.register("fraud", plain_model, semantic_version="1.0.0").number == 3
    assert filled.get("fraud", 2).semantic_version == "v1.0-final"
    assert fold.replay(filled.history("fraud")).head == filled.head("fraud")
    assert filled.fsck().findings == ()
    assert [v.number for v in filled.search("number > 0", order_by="number")] == [1, 2, 3]
    filled.lineage("fraud", 2)
    filled.compare("fraud:2", "fraud:3")


# Who may only read


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (names.check_model_name, "x" * 100_000),
        (names.check_alias, "x" * 100_000),
        (names.check_actor, "x" * 100_000),
        (names.check_version_number, 10**5000),
        (names.SemanticVersion.parse, "9" * 5000 + ".0.0"),
        (names.VersionRef.parse, "penguin:" + "9" * 5000),
        (names.VersionRef.parse, "penguin@" + "x" * 100_000),
        (lambda key: names.check_label(key, "x"), "x" * 100_000),
        (lambda value: names.check_label("key", value), "x" * 100_000),
    ],
    ids=["model", "alias", "actor", "number", "semantic", "reference", "at", "key", "value"],
)
def test_an_error_does_not_repeat_all_that_was_given(
    check: Callable[[Any], object], value: object
) -> None:
    with pytest.raises(InvalidNameError) as caught:
        check(value)
    assert len(str(caught.value)) < 400


@pytest.fixture(params=["mariadb", "postgresql"])
def reader_uri(
    request: pytest.FixtureRequest, plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A database with one version, and a user who may read it and no more."""
    server: MariaDbServer | PostgreSqlServer = request.getfixturevalue(request.param)
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", server.password)
    with ModelRegistry.open(server.uri("readable")) as registry:
        registry.register("fraud", plain_model)
    if isinstance(server, MariaDbServer):
        server.sql(f"CREATE OR REPLACE USER reader@'%' IDENTIFIED BY '{server.password}';"
                   "GRANT SELECT ON readable.* TO reader@'%'")  # fmt: skip
    else:
        server.sql(f"CREATE ROLE reader LOGIN PASSWORD '{server.password}'")
        server.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", "readable")
    yield server.uri("readable").replace("//tfx@", "//reader@")
    server.drop_database("readable")
    server.sql("DROP USER reader@'%'" if isinstance(server, MariaDbServer) else "DROP ROLE reader")


def test_who_may_only_read_reads(reader_uri: str, plain_model: Path) -> None:
    for create in (True, False):
        with ModelRegistry.open(reader_uri, create=create) as registry:
            assert registry.latest("fraud").number == 1
            with pytest.raises(StoreUnavailableError, match="this user may not write to it") as no:
                registry.register("fraud", plain_model)
            assert "nothing was half-written" in no.value.todo
            assert len(registry.history("fraud")) == 1
