"""Searching and comparing, on every store."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import InvalidExpressionError, InvalidInputError, NotFoundError
from tfx_registry.records import LineageSource, Metric, Origin, Verdict
from tfx_registry.registry import finding
from tfx_registry.registry.comparison import Status, compare_versions
from tfx_registry.registry.events import Decided, Registered

ISLAND = (("island", "Dream"),)
HOSTILE = "it's \\ ~ % _ \" ; -- \u00e9 日本"


def refs(found: list) -> list[str]:
    return [version.ref for version in found]


@pytest.fixture
def filled(registry: ModelRegistry, plain_model: Path) -> ModelRegistry:
    """Five penguins with rising accuracy, the third without and the fourth not a number; an auk."""
    accuracies = [0.7, 0.8, None, math.nan, 0.9]
    for number, accuracy in enumerate(accuracies, start=1):
        metrics = [] if accuracy is None else [Metric("auc", accuracy)]
        registry.register(
            "Penguin",
            plain_model,
            metrics=[*metrics, Metric("auc", number / 10, ISLAND)],
            labels={"team": "even" if number % 2 == 0 else HOSTILE, "rank": str(number * 5)},
            semantic_version=f"1.{number * 3}.0",
            sources=[LineageSource("examples", "Examples", f"/data/{number}", {"span": "7"})],
            actor=f"user{number}",
        )
    registry.register("auk", plain_model, metrics={"auc": 0.85}, labels={"team": "even"})
    registry.set_alias("Penguin", "champion", 2)
    return registry


def test_search_finds_what_the_expression_says(filled: ModelRegistry) -> None:
    for expression, expected in {
        "": ["auk:1", "Penguin:5", "Penguin:4", "Penguin:3", "Penguin:2", "Penguin:1"],
        "metrics.auc > 0.7": ["auk:1", "Penguin:5", "Penguin:2"],
        "metrics.auc > 0.7 and labels.team = 'even'": ["auk:1", "Penguin:2"],
        "metrics.auc is nan": ["Penguin:4"],
        "metrics.auc is null": ["Penguin:3"],
        "metrics.auc[island='Dream'] <= 0.2": ["Penguin:2", "Penguin:1"],
        "aliases contains 'champion'": ["Penguin:2"],
        "labels.rank >= 20": ["Penguin:5", "Penguin:4"],
        "sources.examples like '/data/%' and number in (1, 3)": ["Penguin:3", "Penguin:1"],
        "model = 'PENGUIN' and actor = 'user3'": ["Penguin:3"],
        "model = 'nobody'": [],
        "state = 'registered' and not model = 'penguin'": ["auk:1"],
        "time < '2001'": [],
        "semantic_version > '1.9.0'": ["Penguin:5", "Penguin:4"],
    }.items():
        assert refs(filled.search(expression)) == expected, expression
    quoted = HOSTILE.replace("'", "''")
    assert refs(filled.search(f"labels.team = '{quoted}'", model="penguin")) == [
        "Penguin:5",
        "Penguin:3",
        "Penguin:1",
    ]


def test_an_expression_or_its_negation_is_true(filled: ModelRegistry) -> None:
    for expression in ("metrics.auc > 0.75", "metrics.auc != 0.75", "labels.none like '%'"):
        yes, no = filled.search(expression), filled.search(f"not ({expression})")
        assert sorted(refs(yes) + refs(no)) == sorted(refs(filled.search()))


def test_order(filled: ModelRegistry) -> None:
    for order, numbers in {
        # Missing and NaN come last both ways, the newest of them first.
        "metrics.auc": [1, 2, 5, 4, 3],
        "metrics.auc desc": [5, 2, 1, 4, 3],
        "number": [1, 2, 3, 4, 5],
        "number desc": [5, 4, 3, 2, 1],
        # As numbers and by precedence, not as text.
        "labels.rank": [1, 2, 3, 4, 5],
        "semantic_version": [1, 2, 3, 4, 5],
        "labels.team = ": None,
        "aliases": None,
        "nothing": None,
    }.items():
        if numbers is None:
            with pytest.raises(InvalidExpressionError):
                filled.search(order_by=order)
        else:
            found = filled.search("model = 'penguin'", order_by=order)
            assert [v.number for v in found] == numbers, order
    assert refs(filled.search(order_by="actor desc", limit=2)) == ["Penguin:5", "Penguin:4"]


def test_pages_joined_are_the_whole(filled: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "_BATCH", 2)
    for order in (None, "metrics.auc desc", "labels.team", "time", "state"):
        whole = filled.search(order_by=order)
        assert whole.next_page_token is None
        for limit in (1, 2, 4, 6):
            assert pages(filled, order, limit) == refs(whole), (order, limit)


def pages(registry: ModelRegistry, order: str | None, limit: int) -> list[str]:
    joined: list[str] = []
    token = None
    while True:
        page = registry.search(order_by=order, limit=limit, page_token=token)
        joined += refs(page)
        assert len(joined) < 100
        token = page.next_page_token
        if token is None:
            return joined
        assert len(page) == limit


def test_a_new_version_does_not_shift_the_next_page(
    filled: ModelRegistry, plain_model: Path
) -> None:
    page = filled.search("model = 'penguin'", limit=2)
    filled.register("penguin", plain_model)
    after = filled.search("model = 'penguin'", limit=2, page_token=page.next_page_token)
    assert refs(page) + refs(after) == ["Penguin:5", "Penguin:4", "Penguin:3", "Penguin:2"]


def test_a_page_stops_reading_when_it_is_full(
    filled: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "_BATCH", 2)
    asked: list[int] = []
    read = filled._store.read_versions

    def record(model: str, numbers: list[int]) -> dict:
        asked.extend(numbers)
        assert len(numbers) <= 2
        return read(model, numbers)

    monkeypatch.setattr(filled._store, "read_versions", record)
    filled.search(model="penguin", limit=1)
    assert asked == [5, 4]


def test_versions_with_gaps_in_their_numbers_are_found(filled: ModelRegistry) -> None:
    facts = filled.get("penguin", 1).facts
    filled._commit("penguin", lambda _: Registered(1_700_000_000, facts), None, "")
    found = filled.search("model = 'penguin'", limit=2)
    assert [v.number for v in found] == [1_700_000_000, 5]
    rest = filled.search("model = 'penguin'", page_token=found.next_page_token)
    assert [v.number for v in rest] == [4, 3, 2, 1]
    assert filled.search("model = 'penguin' and number = 3")[0].number == 3


def test_a_token_of_somebody_else_is_refused(registry: ModelRegistry) -> None:
    made = (b"[1,2,3,4]", b"[" * 50_000, b"[1,1,1]", b"\xff", b"{}")
    encoded = [base64.urlsafe_b64encode(data).decode() for data in made]
    for token in ["", "x", "\ud800", "é", "=" * 50, *encoded]:
        with pytest.raises(InvalidInputError, match="invalid page token"):
            registry.search(page_token=token)


def test_a_token_of_another_search_is_refused(filled: ModelRegistry) -> None:
    token = filled.search(limit=1).next_page_token
    with pytest.raises(InvalidInputError, match="it belongs to another search"):
        filled.search("number > 1", limit=1, page_token=token)
    # A forged one that has the right mark but a value of the wrong kind.
    token = filled.search(limit=1, order_by="metrics.auc").next_page_token
    assert token is not None
    parts = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    parts[1] = "text"
    forged = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()
    with pytest.raises(InvalidInputError, match="it cannot be read"):
        filled.search(limit=1, order_by="metrics.auc", page_token=forged)


def test_a_limit_out_of_range_is_refused(registry: ModelRegistry) -> None:
    for limit in (0, -1, 10_001):
        with pytest.raises(InvalidInputError, match="from 1 to 10000"):
            registry.search(limit=limit)


def test_a_model_that_is_not_there(registry: ModelRegistry) -> None:
    assert registry.search() == []
    with pytest.raises(NotFoundError):
        registry.search(model="penguin")


def test_nothing_hostile_in_an_expression_reaches_the_store(filled: ModelRegistry) -> None:
    before = [event.text for event in filled.history("penguin")]
    for text in ("'; DROP TABLE Artifact; --", "\\'; DROP TABLE Artifact; --", "%' OR '1'='1"):
        quoted = text.replace("'", "''")
        assert filled.search(f"labels.team = '{quoted}' or labels.'{quoted}' = 'x'") == []
        assert filled.search(f"sources = '{quoted}' or model = '{quoted}'") == []
    assert [event.text for event in filled.history("penguin")] == before


# Comparing


def test_compare(registry: ModelRegistry, plain_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(b"x" * 10)
    a = registry.register(
        "penguin",
        plain_model,
        metrics=[Metric("auc", 0.5), Metric("auc", 0.25, ISLAND), Metric("loss", math.nan)],
        hyperparameters={"epochs": "5", "rate": "0.1"},
        labels={"team": "birds"},
        origin=Origin(libraries={"tfx": "1.16.0", "absl": "1"}),
        sources=[
            LineageSource("examples", "Examples", "/data/1", {"span": "1"}),
            LineageSource("schema", "Schema", "/schema/1", digest="5c"),
        ],
    )
    b = registry.register(
        "penguin",
        other,
        metrics=[Metric("auc", 0.75), Metric("loss", math.nan), Metric("recall", 1.0)],
        hyperparameters={"epochs": "30"},
        origin=Origin(libraries={"tfx": "1.21.0"}),
        sources=[
            LineageSource("examples", "Examples", "/data/2", {"span": "2"}),
            LineageSource("schema", "Schema", "/schema/2", digest="5c"),
            LineageSource("transform_graph", "TransformGraph", "/transform"),
        ],
    )
    decision = Decided(2, Verdict.PASSED, b.digest, "production", baseline=1)
    registry.record_decision("penguin", decision)
    c = registry.compare("penguin:1", "penguin")
    assert (c.a, c.b, c.same_bytes) == (a.ref, b.ref, False)
    assert c.relation == ("penguin:2 passed against penguin:1",)
    assert [(m.name, m.slice, m.delta, m.status.value) for m in c.metrics if m.name != "loss"] == [
        ("auc", (), 0.25, "changed"),
        ("recall", (), None, "added"),
        ("auc", ISLAND, None, "removed"),
    ]
    [loss] = [m for m in c.metrics if m.name == "loss"]
    assert loss.status is Status.SAME
    assert [(h.name, h.a, h.b, h.status.value) for h in c.hyperparameters] == [
        ("epochs", "5", "30", "changed"),
        ("rate", "0.1", None, "removed"),
    ]
    assert [(s.key, s.same_data, s.status.value) for s in c.sources] == [
        ("examples", False, "changed"),
        ("schema", True, "same"),  # elsewhere, with the same digest
        ("transform_graph", False, "added"),
    ]
    assert [(p.name, p.a, p.b) for p in c.sources[0].properties] == [("span", "1", "2")]
    assert {x.name: x.status.value for x in c.libraries} == {"absl": "removed", "tfx": "changed"}
    assert [(x.name, x.status.value) for x in c.labels] == [("team", "removed")]
    assert {x.name: (x.a, x.b) for x in c.facts}["size_bytes"][1] == "10"


def test_a_version_compared_with_itself_is_the_same(filled: ModelRegistry) -> None:
    c = filled.compare("penguin:4", "penguin:4")
    assert c.same_bytes
    assert c.same_signatures
    groups = (c.facts, c.metrics, c.signatures, c.sources, c.hyperparameters, c.libraries, c.labels)
    for group in groups:
        assert {change.status for change in group} <= {Status.SAME}


def test_comparing_backwards_says_the_opposite(filled: ModelRegistry) -> None:
    there, back = filled.compare("penguin:1", "auk"), filled.compare("auk", "penguin:1")
    assert [m.delta for m in there.metrics if m.delta is not None] == [
        -m.delta for m in back.metrics if m.delta is not None
    ]
    swapped = {Status.ADDED: Status.REMOVED, Status.REMOVED: Status.ADDED}
    assert [x.status for x in there.labels] == [
        swapped.get(x.status, x.status) for x in back.labels
    ]


def test_compare_finds_changed_signatures(registry: ModelRegistry, saved_model: Path) -> None:
    version = registry.register("penguin", saved_model)
    signature = version.facts.signatures["serving_default"]
    inputs = {"z": signature.inputs["x"]}
    facts = dataclasses.replace(
        version.facts,
        signatures={"serving_default": dataclasses.replace(signature, inputs=inputs)},
    )
    c = compare_versions(version, dataclasses.replace(version, facts=facts))
    assert not c.same_signatures
    changed = {x.name: x.status.value for x in c.signatures if x.status is not Status.SAME}
    assert changed == {
        "serving_default input x": "removed",
        "serving_default input z": "added",
    }


def test_compare_what_is_not_there(registry: ModelRegistry, plain_model: Path) -> None:
    registry.register("penguin", plain_model)
    with pytest.raises(NotFoundError):
        registry.compare("penguin:1", "penguin:2")
