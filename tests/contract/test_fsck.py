"""Every kind of damage is named; what the log still knows is rebuilt, the rest is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import ModelRegistry, codec
from tfx_registry.errors import NotFoundError
from tfx_registry.records import LineageSource, Metric, Verdict
from tfx_registry.registry.events import Decided
from tfx_registry.registry.memory_store import MemoryStore
from tfx_registry.registry.mlmd_store import RECORD, MlmdStore, decode_text, encode_text

Edit = Callable[[str], str]


def fill(registry: ModelRegistry, path: Path) -> None:
    """Ten events of penguin with everything in them, one of auk."""
    for number in (1, 2, 3):
        (path / "model.txt").write_text(f"bytes {(number + 1) // 2}", encoding="utf-8")
        registry.register(
            "Penguin", path, description="long \\ ~ é " * 400, labels={"team": "birds"},
            metrics=[Metric("auc", 0.1 + 0.2), Metric("loss", float("nan"))],
            sources=[LineageSource("examples", "Examples", "/data/1")], actor="ada",
        )  # fmt: skip
    for number in (1, 2):
        digest = registry.get("penguin", number).digest
        now = registry.serving("penguin")
        registry.record_decision(
            "penguin",
            Decided(
                number, Verdict.PASSED, digest, "production", serving_seq=now.seq if now else 0
            ),
            actor="gate",
        )
        registry.record_promotion("penguin", number, "/serving", "production", actor="bob")
    registry.set_alias("penguin", "champion", 1)
    registry.set_alias("penguin", "champion", 3)
    registry.approve("penguin", 2, actor="eve", reason="good")
    registry.register("auk", path)


@dataclass
class Damager:
    """Damages a store behind the registry's back."""

    store: Any
    model: str = "penguin"

    def head(self, edit: Edit | None) -> None:
        if isinstance(self.store, MemoryStore):
            _edit(self.store._heads, self.model, edit)
        else:
            self._edit_node("context", f"tfx_registry:m:{self.model}", edit)

    def version(self, number: int, edit: Edit | None) -> None:
        if isinstance(self.store, MemoryStore):
            _edit(self.store._versions, (self.model, number), edit)
        else:
            self._edit_node("artifact", f"tfx_registry:v:{self.model}@{number}", edit)

    def event(self, seq: int, edit: Edit | None) -> None:
        if isinstance(self.store, MemoryStore):
            _edit(self.store._events, (self.model, seq), edit)
        else:
            self._edit_node("execution", f"tfx_registry:e:{self.model}#{seq}", edit)

    def content(self, digest: str, number: str | None) -> None:
        if isinstance(self.store, MemoryStore):
            self.store._digests.pop((self.model, digest), None)
            if number is not None:
                self.store._digests[self.model, digest] = number  # type: ignore[assignment]
            return
        external_id = f"tfx_registry:d:{self.model}#{digest}"
        found = self.store._find("artifacts", [external_id])
        node = found[0] if found else pb.Artifact(external_id=external_id)
        node.type_id = self.store._types["tfx_registry.registry.Content"]
        node.custom_properties["number"].string_value = number or ""
        if number is None:
            node.external_id = f"gone:{node.external_id}"
        self._write("put_artifacts", [node])

    def add_version(self, number: int, text: str) -> None:
        if isinstance(self.store, MemoryStore):
            self.store._versions[self.model, number] = text
            return
        node = pb.Artifact(
            type_id=self.store._types["tfx_registry.registry.Version"],
            name=f"Penguin@{number}",
            external_id=f"tfx_registry:v:{self.model}@{number}",
        )
        node.custom_properties[RECORD].string_value = encode_text(text)[:2000]
        self._write("put_artifacts", [node])

    def _edit_node(self, kind: str, external_id: str, edit: Edit | None) -> None:
        (node,) = self.store._find(f"{kind}s", [external_id])
        if edit is None:
            node.external_id = (
                f"gone:{node.external_id}"  # as good as deleted, and ML Metadata can do it
            )
        else:
            parts = [v.string_value for k, v in sorted(node.custom_properties.items(), key=_chunk)
                     if k.startswith(RECORD)]  # fmt: skip
            for key in [k for k in node.custom_properties if k.startswith(RECORD)]:
                del node.custom_properties[key]
            text = encode_text(edit(decode_text("".join(parts))))
            for index in range(0, len(text), 1000):
                key = f"{RECORD}.{index // 1000}" if index else RECORD
                node.custom_properties[key].string_value = text[index : index + 1000]
        self._write(f"put_{kind}s", [node])

    def _write(self, method: str, nodes: list[Any]) -> None:
        self.store._session.write(lambda s: getattr(s, method)(nodes))


def _chunk(item: tuple[str, Any]) -> int:
    return int(item[0].partition(".")[2] or 0)


def _edit(records: dict[Any, str], key: Any, edit: Edit | None) -> None:
    if edit is None:
        del records[key]
    else:
        records[key] = edit(records[key])


def change(path: str, value: object) -> Edit:
    """Sets one field of a record, such as `facts.digest`."""

    def edit(text: str) -> str:
        record = json.loads(text)
        place = record
        *names, last = path.split(".")
        for name in names:
            place = place[name]
        place[last] = value
        return codec.dumps(record)

    return edit


def broken(text: str) -> str:
    return text[: len(text) // 2]


def lose_first_events(damager: Damager) -> None:
    damager.event(1, None)
    damager.event(2, None)


def cut_log(damager: Damager) -> None:
    for seq in (9, 10):
        damager.event(seq, None)


def cut_log_and_head(damager: Damager) -> None:
    cut_log(damager)
    damager.head(None)


def repeat_token(damager: Damager) -> None:
    tokens = {}

    def note(text: str) -> str:
        tokens["first"] = json.loads(text)["token"]
        return text

    damager.event(1, note)
    damager.event(4, lambda text: change("token", tokens["first"])(text))


def rehash(damager: Damager) -> None:
    """Edits an event and makes the chain hold again after it: only the meaning is wrong."""
    previous = {}

    def edit(seq: int) -> Edit:
        def apply(text: str) -> str:
            record = json.loads(text)
            if seq == 9:
                record["payload"]["previous"] = 2
            if seq > 9:
                record["previous"] = previous["digest"]
            previous["digest"] = codec.digest_json(record)
            return codec.dumps(record)

        return apply

    for seq in range(9, 11):
        damager.event(seq, edit(seq))
    damager.head(lambda text: change("digest", previous["digest"])(text))


GHOST = codec.dumps({"model": "Penguin", "number": 4, "seq": 2})
LATE_GHOST = codec.dumps(
    {"model": "Penguin", "number": 4, "time": "", "actor": "", "seq": 99, "facts": {"uri": "",
     "format": "other", "digest": "00", "manifest": "", "size_bytes": 0, "file_count": 0}}
)  # fmt: skip

# Name: what is done, and the code and thing of what must be found first.
REPAIRABLE: dict[str, tuple[Callable[[Damager], object], str, str]] = {
    "no head": (lambda d: d.head(None), "head.missing", "head"),
    "broken head": (lambda d: d.head(broken), "head.unreadable", "head"),
    "empty head": (lambda d: d.head(lambda _: ""), "head.unreadable", "head"),
    "head without a field": (lambda d: d.head(lambda _: "{}"), "head.unreadable", "head"),
    "stale head": (lambda d: d.head(change("seq", 6)), "head.stale", "head"),
    "aliases": (lambda d: d.head(change("aliases", {"champion": 2})), "head.aliases", "head"),
    "deployments": (lambda d: d.head(change("deployments", {})), "head.deployments", "head"),
    "served number": (
        lambda d: d.head(change("deployments./serving.number", 1)), "head.deployments", "head"),
    "latest": (lambda d: d.head(change("latest", 2)), "head.latest", "head"),
    "count": (lambda d: d.head(change("count", 2)), "head.count", "head"),
    "spelling": (lambda d: d.head(change("model", "penguin")), "head.model", "head"),
    "no version": (lambda d: d.version(2, None), "version.missing", "version 2"),
    "broken version": (lambda d: d.version(2, broken), "version.unreadable", "version 2"),
    "empty version": (lambda d: d.version(2, lambda _: ""), "version.unreadable", "version 2"),
    "bytes": (lambda d: d.version(3, change("facts.digest", "0" * 64)), "version.differs",
              "version 3"),
    "metric": (lambda d: d.version(1, change("metrics", [])), "version.differs", "version 1"),
    "label": (lambda d: d.version(1, change("labels", {"x": "y"})), "version.differs",
              "version 1"),
    "serving": (lambda d: d.version(2, change("serving", ["/other"])), "version.differs",
                "version 2"),
    "approval": (lambda d: d.version(2, change("approvals", [])), "version.differs", "version 2"),
    "number": (lambda d: d.version(2, change("number", 7)), "version.differs", "version 2"),
    "extra version": (lambda d: d.add_version(4, GHOST), "version.extra", "version 4"),
    "late version": (lambda d: d.add_version(4, LATE_GHOST), "version.ahead", "version 4"),
    "no version and no head": (
        lambda d: (d.version(2, None), d.head(None)), "version.missing", "version 2"),
}  # fmt: skip

NOT_REPAIRABLE: dict[str, tuple[Callable[[Damager], object], str, str]] = {
    "gap": (lambda d: d.event(4, None), "event.missing", "event 4"),
    "gap at the start": (lose_first_events, "event.missing", "events 1 to 2"),
    "broken event": (lambda d: d.event(4, broken), "event.unreadable", "event 4"),
    "empty event": (lambda d: d.event(4, lambda _: ""), "event.unreadable", "event 4"),
    "event is a list": (lambda d: d.event(4, lambda _: "[]"), "event.unreadable", "event 4"),
    "event without token": (
        lambda d: d.event(4, lambda t: t.replace('"token"', '"taken"')),
        "event.unreadable", "event 4"),
    "edited actor": (lambda d: d.event(4, change("actor", "mallory")), "event.edited", "event 4"),
    "edited first": (lambda d: d.event(1, change("reason", "x")), "event.edited", "event 1"),
    "edited last": (lambda d: d.event(10, change("reason", "x")), "log.end", "head"),
    "other spaces": (
        lambda d: d.event(4, lambda t: t.replace(",", ", ", 1)), "event.edited", "event 4"),
    "wrong number": (lambda d: d.event(4, change("seq", 40)), "event.misplaced", "event 4"),
    "wrong model": (lambda d: d.event(4, change("model", "auk")), "event.misplaced", "event 4"),
    "payload": (lambda d: d.event(4, change("payload", {})), "event.unreadable", "event 4"),
    "token twice": (repeat_token, "event.token-twice", "event 4"),
    "cut log": (cut_log, "log.truncated", "log"),
    "cut log, no head": (cut_log_and_head, "version.ahead", "version 2"),
    "head ahead": (lambda d: d.head(change("seq", 12)), "log.truncated", "log"),
    "digest of the head": (lambda d: d.head(change("digest", "0" * 64)), "log.end", "head"),
    "alias from elsewhere": (rehash, "event.contradicts", "event 9"),
    "unknown kind": (
        lambda d: d.event(4, change("kind", "teleported")), "event.newer-release", "event 4"),
}  # fmt: skip


@pytest.fixture(params=["memory", "sqlite"])
def filled(
    request: pytest.FixtureRequest, new_uri: Callable[[str], str], plain_model: Path
) -> Iterator[ModelRegistry]:
    """A registry with some history; on the stores that are made in no time."""
    with ModelRegistry.open(new_uri(request.param)) as registry:
        fill(registry, plain_model)
        yield registry


def everything(registry: ModelRegistry) -> object:
    """All that is stored, as text."""
    store = registry._store
    return {
        key: (
            store.read_raw_head(key),
            store.read_raw_versions(key, range(1, 10)),
            store.read_raw_events(key, 1, 20),
            store.read_raw_contents(key, keys.contents),
        )
        for key, keys in store.scan().items()
    }


def codes(registry: ModelRegistry) -> set[tuple[str, str]]:
    return {(f.code, f.thing) for f in registry.fsck().findings}


def test_an_undamaged_registry_is_clean(registry: ModelRegistry, plain_model: Path) -> None:
    assert registry.fsck().models == 0
    fill(registry, plain_model)
    report = registry.fsck()
    assert (report.findings, report.models, report.events) == ((), 2, 11)
    before = everything(registry)
    assert registry.fsck("PENGUIN", repair=True).repaired == ()
    assert everything(registry) == before
    with pytest.raises(NotFoundError):
        registry.fsck("gannet")


@pytest.mark.parametrize("name", REPAIRABLE)
def test_damage_beside_the_log_is_named_and_repaired(filled: ModelRegistry, name: str) -> None:
    before = everything(filled)
    damage, code, thing = REPAIRABLE[name]
    damage(Damager(filled._store))
    damaged = everything(filled)
    assert damaged != before
    found = filled.fsck().findings
    assert (code, thing) in {(f.code, f.thing) for f in found}
    assert {f.model for f in found} == {"Penguin"}
    assert all(f.repairable and f.problem for f in found)
    assert everything(filled) == damaged
    report = filled.fsck(repair=True)
    assert report.findings == ()
    assert set(report.repaired) == set(found)
    assert everything(filled) == before
    assert filled.fsck(repair=True).repaired == ()


@pytest.mark.parametrize("name", NOT_REPAIRABLE)
def test_damage_in_the_log_is_named_and_left(filled: ModelRegistry, name: str) -> None:
    damage, code, thing = NOT_REPAIRABLE[name]
    damage(Damager(filled._store))
    Damager(filled._store, "auk").head(None)
    damaged = everything(filled)
    assert (code, thing) in codes(filled)
    report = filled.fsck(repair=True)
    assert [f.code for f in report.repaired] == ["head.missing"]  # of auk, whose log is whole
    assert {f.model for f in report.findings} <= {"Penguin", "penguin"}
    assert not any(f.repairable for f in report.findings)
    after = everything(filled)
    assert after["penguin"] == damaged["penguin"]  # type: ignore[index]
    assert (code, thing) in codes(filled)


def test_a_state_is_not_rebuilt_from_a_damaged_log(filled: ModelRegistry) -> None:
    damager = Damager(filled._store)
    damager.event(4, change("reason", "because"))
    damager.version(2, None)
    damager.head(change("aliases", {}))
    found = {(f.code, f.repairable) for f in filled.fsck().findings}
    assert found == {
        ("event.edited", False),
        ("version.missing", False),
        ("head.aliases", False),
    }
    assert filled.fsck(repair=True).repaired == ()


@pytest.mark.parametrize(
    ("digest", "number", "code"),
    [
        ("known", None, "content.missing"),
        ("known", "1", "content.differs"),
        ("known", "x", "content.differs"),
        ("0" * 64, "2", "content.extra"),
    ],
)
def test_the_content_index(
    filled: ModelRegistry, digest: str, number: str | None, code: str, plain_model: Path
) -> None:
    known = filled.get("penguin", 2).digest
    assert filled._store.find_digest("penguin", known) == 2
    Damager(filled._store).content(known if digest == "known" else digest, number)
    (found,) = filled.fsck().findings
    assert (found.code, found.repairable) == (code, True)
    assert filled.fsck(repair=True).findings == ()
    assert filled._store.find_digest("penguin", known) == 2
    assert filled._store.find_digest("penguin", "0" * 64) is None
    assert filled.fsck().findings == ()


def test_each_event_that_is_read_is_told(filled: ModelRegistry) -> None:
    told = Counter[str]()

    def progress(stage: str, count: int) -> None:
        told[stage] += count

    checked = filled.fsck(progress=progress)
    logs = filled.verify_logs(progress=progress)
    assert told == {"checking": checked.events, "verifying": sum(log.events for log in logs)}
    assert checked.events > 1
    filled.verify_log(logs[0].model, progress=progress)
    assert told["verifying"] == sum(log.events for log in logs) + logs[0].events


def test_a_repaired_registry_works_on(registry: ModelRegistry, plain_model: Path) -> None:
    fill(registry, plain_model)
    before = everything(registry)
    damager = Damager(registry._store)
    damager.content(registry.get("penguin", 3).digest, None)
    damager.add_version(4, GHOST)
    damager.version(2, None)
    damager.version(1, broken)
    damager.head(change("aliases", {}))
    report = registry.fsck(repair=True)
    assert {f.code for f in report.repaired} == {
        "content.missing",
        "head.aliases",
        "version.extra",
        "version.missing",
        "version.unreadable",
    }
    assert report.findings == ()
    assert everything(registry) == before
    damager.head(None)
    assert [f.code for f in registry.fsck(repair=True).repaired] == ["head.missing"]
    assert everything(registry) == before
    registry.set_alias("penguin", "champion", 2)
    assert registry.register("penguin", plain_model).number == 4
    assert registry.fsck().findings == ()


def test_without_a_head_more_versions_than_events_are_no_reason_to_forget_them(
    filled: ModelRegistry,
) -> None:
    damager = Damager(filled._store)
    damager.add_version(4, GHOST)
    damager.head(None)
    damaged = everything(filled)
    report = filled.fsck(repair=True)
    assert [(f.code, f.repairable) for f in report.findings] == [
        ("version.extra", False),
        ("head.missing", False),
    ]
    assert everything(filled) == damaged


def test_the_number_of_a_ghost_can_be_registered_after_the_repair(
    filled: ModelRegistry, plain_model: Path
) -> None:
    Damager(filled._store).add_version(4, GHOST)
    filled.fsck(repair=True)
    with pytest.raises(NotFoundError):
        filled.get("penguin", 4)
    assert filled.register("penguin", plain_model).number == 4
    assert filled.get("penguin", 4).same_bytes_as == 3
    assert filled.fsck().findings == ()


def test_rows_that_are_deleted(new_uri: Callable[[str], str], plain_model: Path) -> None:
    uri = new_uri("sqlite")
    with ModelRegistry.open(uri) as registry:
        fill(registry, plain_model)
        before = everything(registry)
    script = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1])\n"
        "for table in ('Context', 'Artifact'):\n"
        "    ids = [r[0] for r in db.execute(f'select id from {table} where external_id in (?, ?)',"
        " ('tfx_registry:m:penguin', 'tfx_registry:v:penguin@2'))]\n"
        "    for i in ids:\n"
        "        db.execute(f'delete from {table} where id = ?', (i,))\n"
        "        db.execute(f'delete from {table}Property where {table}_id = ?', (i,))\n"
        "        print(table, i)\n"
        "db.commit()"
    )
    # SQLite's own module and ML Metadata do not share a file in one process.
    done = subprocess.run(
        [sys.executable, "-c", script, uri.removeprefix("sqlite:///")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.count("\n") == 2
    with ModelRegistry.open(uri) as registry:
        assert codes(registry) == {("head.missing", "head"), ("version.missing", "version 2")}
        assert registry.fsck(repair=True).findings == ()
        assert everything(registry) == before
        registry.register("penguin", plain_model)
        assert registry.fsck().findings == ()


def test_copies_in_ml_metadata_are_compared(
    new_uri: Callable[[str], str], plain_model: Path
) -> None:
    with ModelRegistry.open(new_uri("sqlite")) as registry:
        fill(registry, plain_model)
        store = registry._store
        assert isinstance(store, MlmdStore)
        (node,) = store._find("artifacts", ["tfx_registry:v:penguin@1"])
        node.custom_properties["state"].string_value = "serving"
        store._session.write(lambda s: s.put_artifacts([node]))
        assert codes(registry) == {("version.index", "version 1")}
        assert registry.fsck(repair=True).findings == ()
        (event,) = store._find("executions", ["tfx_registry:e:penguin#1"])
        event.custom_properties["actor"].string_value = "mallory"
        store._session.write(lambda s: s.put_executions([event]))
        assert codes(registry) == {("event.index", "event 1")}


def test_fields_of_a_newer_release_verify_but_are_not_rebuilt(filled: ModelRegistry) -> None:
    last: dict[str, str] = {}

    def add(text: str) -> str:
        record = json.loads(text)
        record["payload"]["mood"] = "cheerful"
        last["digest"] = codec.digest_json(record)
        return codec.dumps(record)

    damager = Damager(filled._store)
    damager.event(10, add)
    damager.head(lambda text: change("digest", last["digest"])(text))
    assert filled.verify_log("penguin").findings == ()
    assert codes(filled) == {("event.newer-release", "event 10")}
    damager.version(1, None)
    assert filled.fsck(repair=True).repaired == ()


def test_an_unknown_kind_verifies_and_is_counted(filled: ModelRegistry) -> None:
    last: dict[str, str] = {}

    def alter(text: str) -> str:
        altered = change("kind", "teleported")(text)
        last["digest"] = codec.digest_json(json.loads(altered))
        return altered

    damager = Damager(filled._store)
    damager.event(10, alter)
    damager.head(lambda text: change("digest", last["digest"])(text))
    report = filled.verify_log("penguin")
    # In ML Metadata the kind stands beside the record, too.
    assert {f.code for f in report.findings} <= {"event.index"}
    assert report.unknown_kinds == {"teleported": 1}


def test_checks_beside_writers_raise_no_false_alarm(
    filled: ModelRegistry, plain_model: Path
) -> None:
    stop = threading.Event()
    made: list[int] = []

    def write() -> None:
        while not stop.is_set():
            made.append(filled.register("penguin", plain_model).number)
            filled.set_alias("penguin", "champion", 1 + len(made) % 3)

    thread = threading.Thread(target=write)
    thread.start()
    reports = []
    try:
        while len({r.events for r in reports}) < 5 and thread.is_alive():
            reports.append(filled.fsck(repair=True))
    finally:
        stop.set()
        thread.join()
    assert [r.findings + r.repaired for r in reports] == [()] * len(reports)
    assert len({r.events for r in reports}) == 5
    assert filled.head("penguin").count == 3 + len(made)
    assert filled.fsck().findings == ()
