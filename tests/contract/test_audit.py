"""Export, import, verification of the log, and what served when."""

from __future__ import annotations

import datetime
import io
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import (
    AccessDeniedError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    InvalidNameError,
    NotFoundError,
)
from tfx_registry.records import LineageSource, Metric, Verdict
from tfx_registry.registry import fold
from tfx_registry.registry.access import AccessPolicy, Action, Grant
from tfx_registry.registry.events import Decided
from tfx_registry.registry.memory_store import MemoryStore

OpenRegistry = Callable[[str], ModelRegistry]

#: From where to where. One more kind of store is one more line here.
MIGRATIONS = [
    ("memory", "sqlite"),
    ("sqlite", "memory"),
    ("sqlite", "sqlite"),
    ("sqlite", "postgresql"),
    ("postgresql", "mysql"),
    ("mysql", "sqlite"),
    ("sqlite", "grpc"),
]

HOSTILE = "\\ ~ ~1 ' \" % ; -- \u00e9 \U0001f427 {} 日本 \u2028"


@pytest.fixture
def make_registry(new_uri: Callable[[str], str]) -> Iterator[OpenRegistry]:
    """Opens empty registries on a kind of store."""
    opened: list[ModelRegistry] = []

    def make(backend: str) -> ModelRegistry:
        opened.append(ModelRegistry.open(new_uri(backend)))
        return opened[-1]

    yield make
    for registry in opened:
        registry.close()


def promote(registry: ModelRegistry, number: int, **fields: object) -> None:
    now = registry.serving("penguin")
    decision = Decided(
        number, Verdict.PASSED, registry.get("penguin", number).digest, "production",
        serving_seq=now.seq if now else 0, metrics=(Metric("auc", 0.1 + 0.2),), **fields,  # type: ignore[arg-type]
    )  # fmt: skip
    registry.record_decision("penguin", decision, actor="gate")
    registry.record_promotion(
        "penguin", number, "/serving", "production", actor="bob", reason="better"
    )


def fill(registry: ModelRegistry, path: Path) -> None:
    sources = [LineageSource("examples", "Examples", f"/data/{HOSTILE}", {"span": "7"})]
    for number in (1, 2):
        registry.register(
            "penguin", path, actor="ada", description=HOSTILE * 200, sources=sources,
            metrics=[Metric("loss", float("nan")), Metric("tiny", 5e-324)], reason=HOSTILE,
        )  # fmt: skip
        promote(registry, number, report={"all": [HOSTILE, 1, 0.1, None, True]})
    registry.set_alias("penguin", "champion", 1)
    registry.approve("penguin", 2, actor="eve", reason="looked at it")
    registry.register("Auk", path, idempotency_key="run-1")


def export(registry: ModelRegistry, *models: str) -> bytes:
    parts: list[str] = []
    registry.export_history(parts.append, models, registry="here")
    return "".join(parts).encode()


def load(registry: ModelRegistry, data: bytes, **fields: str) -> dict[str, int]:
    return dict(registry.import_history(io.BytesIO(data), **fields).appended)


def assert_same(one: ModelRegistry, other: ModelRegistry) -> None:
    assert one.list_models() == other.list_models()
    for head in one.list_models():
        # Texts, because NaN does not equal itself.
        here, there = one.history(head.model), other.history(head.model)
        assert [event.text for event in here] == [event.text for event in there]
        state = fold.replay(other.history(head.model))
        assert state.head == other.head(head.model)
        versions = other.list_versions(head.model, newest_first=False)
        assert repr(list(state.versions.values())) == repr(versions)
    assert other.fsck().findings == ()


@pytest.mark.parametrize(("source", "target"), MIGRATIONS)
def test_migration(
    make_registry: OpenRegistry, source: str, target: str, plain_model: Path
) -> None:
    old, new = make_registry(source), make_registry(target)
    fill(old, plain_model)
    data = export(old)
    assert load(new, data) == {"Auk": 1, "penguin": 8}
    assert_same(old, new)
    # The header says when; all else is the same to the byte.
    assert export(new).partition(b"\n")[2] == data.partition(b"\n")[2]
    # Again changes nothing; and both go on.
    assert load(new, data) == {"Auk": 0, "penguin": 0}
    assert load(old, data) == {"Auk": 0, "penguin": 0}
    assert new.register("auk", plain_model, idempotency_key="run-1").number == 1
    assert new.register("penguin", plain_model).same_bytes_as == 2
    old.register("penguin", plain_model)
    assert_same_prefix(old, new)


def assert_same_prefix(old: ModelRegistry, new: ModelRegistry) -> None:
    with pytest.raises(ConflictError, match="event 9 is the first that differs"):
        load(new, export(old))


def test_what_came_later_is_appended(make_registry: OpenRegistry, plain_model: Path) -> None:
    old, new = make_registry("sqlite"), make_registry("memory")
    fill(old, plain_model)
    first = export(old)
    load(new, first)
    old.register("penguin", plain_model)
    old.set_alias("penguin", "champion", 3)
    assert load(new, export(old)) == {"Auk": 0, "penguin": 2}
    assert_same(old, new)
    # An older file of the same history is no conflict.
    assert load(new, first) == {"Auk": 0, "penguin": 0}


def test_one_model_of_many(make_registry: OpenRegistry, plain_model: Path) -> None:
    old, new = make_registry("memory"), make_registry("memory")
    fill(old, plain_model)
    assert load(new, export(old, "AUK", "auk")) == {"Auk": 1}
    with pytest.raises(NotFoundError):
        export(old, "gannet")


@pytest.mark.parametrize("target", ["memory", "sqlite"])
@pytest.mark.parametrize("stop", [0, 1, 4, 8])
def test_an_interrupted_import_is_finished(
    make_registry: OpenRegistry,
    plain_model: Path,
    target: str,
    stop: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = make_registry("memory"), make_registry(target)
    fill(old, plain_model)
    data = export(old)
    counter = itertools.count()
    original = type(new._store).append

    def append(self: object, *arguments: object) -> None:
        if next(counter) == stop:
            raise KeyboardInterrupt
        original(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(type(new._store), "append", append)
        with pytest.raises(KeyboardInterrupt):
            load(new, data)
    assert sum(head.seq for head in new.list_models()) == stop
    assert sum(load(new, data).values()) == 9 - stop
    assert_same(old, new)


def lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def edited(data: bytes, line: int, **fields: object) -> bytes:
    """Changes an event and its digest, as somebody who edits the file would."""
    from tfx_registry import codec

    found = lines(data)
    record = json.loads(found[line])
    record["event"].update(fields)
    record["digest"] = codec.digest_json(record["event"])
    return b"".join([*found[:line], codec.dumps(record).encode() + b"\n", *found[line + 1 :]])


# In the file line 1 is Auk's event, lines 2 to 9 are those of penguin, line 10 is the end.
DAMAGE: dict[str, tuple[Callable[[bytes], bytes], type[Exception], str]] = {
    "no end": (lambda d: b"".join(lines(d)[:-1]), IntegrityError, "end is missing"),
    "cut in a line": (lambda d: d[:-40], IntegrityError, "line 11: it is no JSON"),
    "a line less": (lambda d: b"".join(lines(d)[:4] + lines(d)[5:]), IntegrityError,
                    "event 4 of 'penguin' after event 2"),
    "a line twice": (lambda d: b"".join(lines(d)[:4] + lines(d)[3:]), IntegrityError, "event 2"),
    "last events less": (lambda d: b"".join(lines(d)[:8] + lines(d)[-1:]), IntegrityError,
                         "not those that its last line counts"),
    "a model less": (lambda d: b"".join(lines(d)[:1] + lines(d)[2:]), IntegrityError,
                     "not those that its last line counts"),
    "more after the end": (lambda d: d + lines(d)[1], IntegrityError, "more after the end"),
    "edited": (lambda d: d.replace(b'"actor":"bob"', b'"actor":"eve"', 1), IntegrityError,
               "its digest is another"),
    "edited with its digest": (lambda d: edited(d, 4, actor="eve"), IntegrityError,
                               "event 3: its digest is"),
    "last edited with its digest": (lambda d: edited(d, 9, actor="mallory"), IntegrityError,
                                    "not those that its last line counts"),
    "newer kind": (lambda d: edited(d, 1, kind="teleported"), IntegrityError, "newer release"),
    "newer field": (lambda d: edited(d, 1, mood="good"), IntegrityError, "newer release"),
    "bad name": (lambda d: edited(d, 1, model="../auk"), InvalidNameError, "model name"),
    "case twins": (lambda d: d.replace(b'"Auk"', b'"PENGUIN"'), IntegrityError, "digest|case"),
    "no event": (lambda d: b"".join([lines(d)[0], b"{}\n", *lines(d)[1:]]), IntegrityError,
                 "no event"),
    "a list": (lambda d: b"".join([lines(d)[0], b"[]\n", *lines(d)[1:]]), IntegrityError, "line 2"),
    "infinity": (lambda d: d.replace(b'"span":"7"', b'"span":1e999', 1), IntegrityError, "line"),
    "deep": (lambda d: lines(d)[0] + b"[" * 100_000 + b"\n", IntegrityError, "no JSON"),
    "not UTF-8": (lambda d: d.replace(b'"ada"', b'"\xff"', 1), IntegrityError, "no JSON"),
    "something else": (lambda _: b'{"a": 1}\n', InvalidInputError, "does not say"),
    "no JSON": (lambda _: b"hello\n", InvalidInputError, "no JSON"),
    "empty": (lambda _: b"", IntegrityError, "end is missing"),
    "newer format": (lambda d: d.replace(b'"version":1}', b'"version":2}', 1), InvalidInputError,
                     "newer release"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_changes_nothing(
    make_registry: OpenRegistry, plain_model: Path, name: str
) -> None:
    old, new = make_registry("memory"), make_registry("memory")
    fill(old, plain_model)
    damage, error, message = DAMAGE[name]
    data = export(old)
    damaged = damage(data)
    assert damaged != data
    with pytest.raises(error, match=message):
        load(new, damaged)
    assert new.list_models() == []


def test_another_history_is_refused(make_registry: OpenRegistry, plain_model: Path) -> None:
    old, new = make_registry("memory"), make_registry("sqlite")
    fill(old, plain_model)
    new.register("penguin", plain_model, actor="mallory")
    with pytest.raises(ConflictError, match=r"event 1 is the first .* by mallory .* by ada") as no:
        load(new, export(old))
    assert no.value.exit_code == 5
    assert [head.model for head in new.list_models()] == ["penguin"]
    assert len(new.history("penguin")) == 1


def test_imports_that_race(make_registry: OpenRegistry, plain_model: Path) -> None:
    import threading

    old, new = make_registry("memory"), make_registry("sqlite")
    for _ in range(20):
        old.register("penguin", plain_model)
    data = export(old)
    threads = [threading.Thread(target=load, args=(new, data)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same(old, new)


def test_a_damaged_log_is_not_exported(make_registry: OpenRegistry, plain_model: Path) -> None:
    registry = make_registry("memory")
    fill(registry, plain_model)
    store = registry._store
    assert isinstance(store, MemoryStore)
    whole = store._events["penguin", 3]
    for text in ("", whole.replace('"bob"', '"eve"'), None):
        if text is None:
            del store._events["penguin", 3]
        else:
            store._events["penguin", 3] = text
        with pytest.raises(IntegrityError, match="cannot export 'penguin': penguin event 3"):
            export(registry)
    store._events["penguin", 3] = whole
    store._events["penguin", 8] = store._events["penguin", 8].replace("looked", "winked")
    with pytest.raises(IntegrityError, match="the head disagree"):
        export(registry)


def test_events_with_unknown_fields_are_exported_as_stored(
    make_registry: OpenRegistry, plain_model: Path
) -> None:
    from tfx_registry import codec

    registry = make_registry("memory")
    registry.register("penguin", plain_model)
    store = registry._store
    assert isinstance(store, MemoryStore)
    event = {**json.loads(store._events["penguin", 1]), "mood": "cheerful"}
    store._events["penguin", 1] = codec.dumps(event)
    head = json.loads(store._heads["penguin"])
    store._heads["penguin"] = codec.dumps({**head, "digest": codec.digest_json(event)})
    assert registry.verify_log("penguin").findings == ()
    assert b'"mood":"cheerful"' in export(registry)


def test_the_access_policy_travels_and_guards(
    make_registry: OpenRegistry, plain_model: Path
) -> None:
    old, new = make_registry("memory"), make_registry("memory")
    old.register("penguin", plain_model, actor="ada")
    grants = (Grant(("ada",), (Action.REGISTER, Action.PROMOTE)),)
    policy = AccessPolicy(admins=("ada",), grants=grants)
    old.set_access_policy(policy, actor="ada")
    data = export(old)
    assert load(new, data, actor="mallory") == {"penguin": 1, "*": 1}
    assert new.access_policy() == old.access_policy()
    old.register("penguin", plain_model, actor="ada")
    with pytest.raises(AccessDeniedError):
        load(new, export(old), actor="mallory")
    assert load(new, export(old), actor="ada") == {"penguin": 1, "*": 0}
    assert new.fsck().findings == ()


def test_verify_log(registry: ModelRegistry, plain_model: Path) -> None:
    fill(registry, plain_model)
    report = registry.verify_log("PENGUIN")
    assert (report.model, report.events, report.findings) == ("penguin", 8, ())
    assert report.digest == registry.head("penguin").digest
    assert [r.model for r in registry.verify_logs()] == ["Auk", "penguin"]
    with pytest.raises(NotFoundError):
        registry.verify_log("gannet")
    with pytest.raises(InvalidNameError):
        registry.verify_log("../gannet")


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.timezone.utc)

    def __call__(self) -> datetime.datetime:
        self.now += datetime.timedelta(seconds=1)
        return self.now


@pytest.fixture
def served(plain_model: Path) -> ModelRegistry:
    """Version 1 serves from noon of the 20th, version 2 from noon of the 22nd."""
    clock = Clock()
    registry = ModelRegistry(MemoryStore(), clock=clock)
    sources = [LineageSource("examples", "Examples", "/data/1")]
    registry.register("penguin", plain_model, actor="ada", sources=sources)
    registry.approve("penguin", 1, actor="eve", reason="fine")
    promote(registry, 1, notes=("first version",))
    clock.now += datetime.timedelta(days=1)
    now = registry.serving("penguin")
    assert now is not None
    digest = registry.get("penguin", 1).digest
    late = Decided(1, Verdict.BLOCKED, digest, "production", serving_seq=now.seq, reasons=("x",))
    registry.record_decision("penguin", late, actor="gate")
    registry.reject("penguin", 1, actor="eve", reason="not fine any more")
    clock.now += datetime.timedelta(days=1)
    registry.register("penguin", plain_model, actor="ada")
    promote(registry, 2, baseline=1)
    return registry


def test_what_served(served: ModelRegistry) -> None:
    (then,) = served.served("penguin", "2026-11-20")
    assert (then.version.number, then.reason, then.deployment.actor) == (1, "better", "bob")
    assert then.deployment.time.startswith("2026-11-20T12:00:04")
    assert then.version.sources[0].uri == "/data/1"
    # What was said later is not what was in force then.
    assert then.decision is not None
    assert (then.decision.verdict, then.decision.notes) == (Verdict.PASSED, ("first version",))
    assert then.decision.metrics == (Metric("auc", 0.1 + 0.2),)
    assert [(a.actor, a.approved) for a in then.version.approvals] == [("eve", True)]
    (later,) = served.served("penguin", "2026-11-21")
    assert later.version.number == 1
    assert later.decision is not None
    assert later.decision.verdict is Verdict.BLOCKED
    assert [a.approved for a in later.version.approvals] == [False]
    (now,) = served.served("penguin", "2030-01-01")
    assert (now.version.number, now.version.decision.baseline) == (2, 1)  # type: ignore[union-attr]
    assert now.version == served.get("penguin", 2)


@pytest.mark.parametrize(
    ("on", "number"),
    [
        ("2026-11-20T12:00:04", 1),
        ("2026-11-20T12:00:04Z", 1),
        ("2026-11-20T13:30:04+01:30", 1),
        ("2026-11-20T12:01", 1),
        ("2026-11-22T23:59:59", 2),
        ("2026-11-22T12:00", 1),
    ],
)
def test_instants(served: ModelRegistry, on: str, number: int) -> None:
    (then,) = served.served("penguin", on)
    assert then.version.number == number


@pytest.mark.parametrize(
    ("on", "fields", "message"),
    [
        ("2026-11-20T12:00:03", {}, "nothing had been promoted"),
        ("2026-11-19", {}, "registered later"),
        ("2026-11-21", {"alias": "canary"}, "served then: 'production' in '/serving'"),
        ("2026-11-21", {"destination": "/elsewhere"}, "in '/elsewhere'"),
    ],
)
def test_nothing_served(
    served: ModelRegistry, on: str, fields: dict[str, str], message: str
) -> None:
    with pytest.raises(NotFoundError, match=message):
        served.served("penguin", on, **fields)


def test_a_day_tells_what_ended_on_it(served: ModelRegistry) -> None:
    last, first = served.served("penguin", "2026-11-22")
    assert (last.version.number, last.kind, last.until, last.ended_by) == (2, "promoted", "", 0)
    assert (first.version.number, first.kind, first.reason) == (1, "promoted", "better")
    assert (first.until, first.ended_by) == (last.deployment.time, last.deployment.seq)
    # As it stood when it ended.
    assert first.version.aliases == ("production",)
    assert first.decision is not None
    assert first.decision.verdict is Verdict.BLOCKED


def test_a_rollback_is_not_called_a_promotion(served: ModelRegistry) -> None:
    clock = served._clock
    assert isinstance(clock, Clock)
    clock.now += datetime.timedelta(days=1)
    served.approve("penguin", 1, actor="eve", reason="fine again")
    served.record_rollback("penguin", 1, "/serving", (2,), actor="eve", reason="bad numbers")
    now, before = served.served("penguin", "2026-11-23")
    assert (now.version.number, now.kind, now.reason) == (1, "rolled_back", "bad numbers")
    assert (before.version.number, before.until) == (2, now.deployment.time)
    (now,) = served.served("penguin", "2026-11-24")
    assert now.version.number == 1


@pytest.mark.parametrize("on", ["", "yesterday", "2026-11-31", "0001-01-01T00:00+23:00", "\\"])
def test_bad_dates(served: ModelRegistry, on: str) -> None:
    with pytest.raises(InvalidInputError, match="invalid date"):
        served.served("penguin", on)


def test_a_damaged_log_answers_nothing(served: ModelRegistry) -> None:
    store = served._store
    assert isinstance(store, MemoryStore)
    text = store._events["penguin", 4]
    store._events["penguin", 4] = text.replace('"bob"', '"eve"')
    with pytest.raises(IntegrityError, match="penguin event 4"):
        served.served("penguin", "2026-11-20")
