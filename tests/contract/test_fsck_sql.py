"""Rows that somebody changed with SQL while no registry was open: each is named, or does no harm.

The table says for each damage what `fsck` must find, and what is left after `fsck --repair`.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, codec
from tfx_registry.errors import IntegrityError
from tfx_registry.records import LineageSource, Metric, Verdict
from tfx_registry.registry.events import Decided

EVENT = "(SELECT id FROM Execution WHERE external_id = 'tfx_registry:e:penguin#{}')"
VERSION = "(SELECT id FROM Artifact WHERE external_id = 'tfx_registry:v:penguin@{}')"
HEAD = "(SELECT id FROM Context WHERE external_id = 'tfx_registry:m:penguin')"


def purge(kind: str, where: str) -> str:
    """Deletes nodes with their properties; edges to them stay."""
    return (
        f"DELETE FROM {kind}Property WHERE {kind}_id IN (SELECT id FROM {kind} WHERE {where});"
        f"DELETE FROM {kind} WHERE {where};"
    )


def delete(kind: str, which: str) -> str:
    """Deletes one node with its properties."""
    return (
        f"DELETE FROM {kind}Property WHERE {kind}_id = {which};"
        f"DELETE FROM {kind} WHERE id = {which};"
    )


def replace(kind: str, which: str, old: str, new: str) -> str:
    """Replaces text in the record of a node."""
    return (
        f"UPDATE {kind}Property SET string_value = replace(string_value, '{old}', '{new}')"
        f" WHERE {kind}_id = {which} AND name LIKE 'record%';"
    )


def rot(kind: str, which: str, old: str) -> str:
    """Replaces text in the record of a node by a byte that is no UTF-8."""
    return (
        f"UPDATE {kind}Property SET string_value = replace(string_value, '{old}',"
        f" CAST(x'ff' AS TEXT)) WHERE {kind}_id = {which} AND name LIKE 'record%';"
    )


def chunk(kind: str, which: str, name: str) -> str:
    """Deletes one piece of a long record."""
    return f"DELETE FROM {kind}Property WHERE {kind}_id = {which} AND name = '{name}';"


def copy(kind: str, which: str, name: str, columns: str = "") -> str:
    """Inserts a copy of a node under another name, without a key."""
    return (
        f"INSERT INTO {kind} (type_id, name{columns}) SELECT type_id, '{name}'{columns}"
        f" FROM {kind} WHERE id = {which};"
        f"INSERT INTO {kind}Property ({kind}_id, name, is_custom_property, string_value)"
        f" SELECT (SELECT max(id) FROM {kind}), name, is_custom_property, string_value"
        f" FROM {kind}Property WHERE {kind}_id = {which};"
    )


ALL_STATE = (
    purge("Context", f"id = {HEAD}")
    + purge("Artifact", "external_id LIKE 'tfx_registry:v:penguin@%'")
    + purge("Artifact", "external_id LIKE 'tfx_registry:d:penguin#%'")
)
STRANGERS = """
INSERT INTO Type (name, type_kind, external_id) VALUES ('Examples', 1, NULL), ('Run', 2, NULL),
  ('Trainer', 0, NULL), ('tfx_registry.registry.Version2', 1, NULL);
INSERT INTO Artifact (type_id, uri, name) SELECT id, '/data', name || '@1' FROM Type
  WHERE name IN ('Examples', 'tfx_registry.registry.Version2');
INSERT INTO Context (type_id, name) SELECT id, 'penguin' FROM Type WHERE name = 'Run';
INSERT INTO Execution (type_id, name) SELECT id, 'penguin#4' FROM Type WHERE name = 'Trainer';
"""
ORPHANS = """
INSERT INTO ArtifactProperty (artifact_id, name, is_custom_property, string_value)
  VALUES (70001, 'record', 1, '{}');
INSERT INTO ExecutionProperty (execution_id, name, is_custom_property, string_value)
  VALUES (70002, 'record', 1, '{}');
INSERT INTO Attribution (context_id, artifact_id) VALUES (70003, 70001), (1, 70001), (70003, 1);
INSERT INTO Association (context_id, execution_id) VALUES (70003, 70002), (1, 70002), (70003, 1);
INSERT INTO Event (artifact_id, execution_id, type) VALUES (70001, 70002, 4), (1, 70002, 3),
  (70001, 1, 3);
INSERT INTO EventPath (event_id, is_index_step, step_key) VALUES (70004, 0, 'version');
"""


@dataclass(frozen=True)
class Case:
    """A damage.

    Attributes:
        sql: How it is done.
        found: Code and thing of each finding, as a text.
        left: The same after a repair; "all" means that nothing was repaired.
    """

    sql: str
    found: str
    left: str = ""


E1, E3, E4, E5, E9 = (EVENT.format(seq) for seq in (1, 3, 4, 5, 9))
D1, D2 = "digest 46743017762a", "digest ec4cefbcdb7f"  # of "bytes 1" and "bytes 2"
OF_TYPE = "name = 'tfx_registry.registry.{}'"
V1, V2 = (VERSION.format(number) for number in (1, 2))

CASES = {
    # The log: never repaired
    "event removed": Case(delete("Execution", E4), "event.missing event 4", "all"),
    "event without a record": Case(
        chunk("Execution", E4, "record"), "event.unreadable event 4", "all"),
    "event cut at its end": Case(
        chunk("Execution", E1, "record.1"), "event.unreadable event 1", "all"),
    "event cut in the middle": Case(
        chunk("Execution", E1, "record"), "event.unreadable event 1", "all"),
    "event with a byte that is no text": Case(
        rot("Execution", E4, "gate"), "event.unreadable event 4", "all"),
    "payload edited": Case(
        replace("Execution", E3, "birds", "bards"),
        "event.edited event 3, version.differs version 3", "all"),
    "chain edited": Case(
        replace("Execution", E5, '"previous":"', '"previous":"0'),
        "event.edited event 4, event.edited event 5", "all"),
    "actor edited": Case(
        replace("Execution", E4, '"actor":"gate"', '"actor":"eve"'),
        "event.index event 4, event.edited event 4, version.differs version 1", "all"),
    "actor beside the record edited": Case(
        f"UPDATE ExecutionProperty SET string_value = 'eve' WHERE execution_id = {E4}"
        " AND name = 'actor'",
        "event.index event 4", "all"),
    "token beside the record edited": Case(
        f"UPDATE Execution SET name = 'op:' || id WHERE id = {E4}", "event.index event 4", "all"),
    "event under another number": Case(
        "UPDATE Execution SET external_id = 'tfx_registry:e:penguin#900' WHERE id = " + E4,
        "event.missing event 4, event.missing events 12 to 899, event.misplaced event 900", "all"),
    "events swapped": Case(
        f"UPDATE Execution SET external_id = 'tfx_registry:e:penguin#' || CASE external_id WHEN"
        " 'tfx_registry:e:penguin#4' THEN '-5' ELSE '4' END WHERE id IN"
        f" ({E4}, {E5});"
        "UPDATE Execution SET external_id = 'tfx_registry:e:penguin#5' WHERE external_id ="
        " 'tfx_registry:e:penguin#-5'",
        "event.edited event 3, event.misplaced event 4, event.edited event 4,"
        " event.misplaced event 5, event.edited event 5", "all"),
    "event without its key": Case(
        f"UPDATE Execution SET external_id = NULL WHERE id = {E4}",
        "event.missing event 4, event.stray execution 4", "all"),
    "no events at all": Case(
        purge("Execution", "external_id LIKE 'tfx_registry:e:penguin#%'"),
        "version.ahead version 1, version.ahead version 2, version.ahead version 3,"
        f" content.extra {D1}, content.extra {D2}, log.truncated log", "all"),
    "end of the log and head removed": Case(
        delete("Execution", EVENT.format(11)) + delete("Context", HEAD),
        "version.ahead version 1, head.missing head", "all"),
    # The state: rebuilt from the log
    "head removed": Case(delete("Context", HEAD), "head.missing head"),
    "head without a record": Case(chunk("Context", HEAD, "record"), "head.unreadable head"),
    "head with a byte that is no text": Case(
        rot("Context", HEAD, "champion"), "head.unreadable head"),
    "alias to nowhere": Case(
        replace("Context", HEAD, '"champion":3', '"champion":99'), "head.aliases head"),
    "deployment edited": Case(
        replace("Context", HEAD, '"number":2', '"number":1'), "head.deployments head"),
    "version removed": Case(delete("Artifact", V2), "version.missing version 2"),
    "version marked as deleted": Case(
        f"UPDATE Artifact SET state = 4 WHERE id = {V2}", "version.missing version 2"),
    "version without a record": Case(
        chunk("Artifact", V2, "record"), "version.unreadable version 2"),
    "version cut at its end": Case(
        chunk("Artifact", V2, "record.1"), "version.unreadable version 2"),
    "version with a byte that is no text": Case(
        rot("Artifact", V2, "birds"), "version.unreadable version 2"),
    "version edited": Case(
        replace("Artifact", V1, "birds", "bards"), "version.differs version 1"),
    "digest beside the version edited": Case(
        f"UPDATE ArtifactProperty SET string_value = '00' WHERE artifact_id = {V1}"
        " AND name = 'digest'", "version.index version 1"),
    "uri beside the version edited": Case(
        f"UPDATE Artifact SET uri = '/elsewhere' WHERE id = {V1}", "version.index version 1"),
    "version without its key": Case(
        f"UPDATE Artifact SET external_id = NULL WHERE id = {V1}", "version.missing version 1"),
    "content index removed": Case(
        purge("Artifact", "external_id LIKE 'tfx_registry:d:penguin#%'"),
        f"content.missing {D1}, content.missing {D2}"),
    "everything but the log removed": Case(
        ALL_STATE,
        "version.missing version 1, version.missing version 2, version.missing version 3,"
        f" content.missing {D1}, content.missing {D2}, head.missing head"),
    # Edges: put back
    "edges removed": Case(
        f"DELETE FROM Event WHERE execution_id = {E1}", "edge.missing event 1, edge.missing event 1"
    ),
    "edge turned round": Case(
        f"UPDATE Event SET type = 3 WHERE execution_id = {E1} AND artifact_id = {V1}",
        "edge.missing event 1"),
    "source removed": Case(
        purge("Artifact", "uri = '/data/1'"),
        "edge.missing event 1, edge.missing event 2, edge.missing event 3"),
    # Beside: named, and left
    "second head": Case(
        copy("Context", HEAD, "PENGUIN"), "head.stray context 3", "all"),
    "second version": Case(
        copy("Artifact", V2, "penguin@2", ", uri, state"), "version.stray artifact 9", "all"),
    "second event": Case(
        copy("Execution", E4, "op:mine"), "event.stray execution 13", "all"),
    "a second head and a version removed": Case(
        copy("Context", HEAD, "PENGUIN") + delete("Artifact", V2),
        "version.missing version 2, head.stray context 3", "head.stray context 3"),
    "type of versions removed": Case(
        f"DELETE FROM Type WHERE {OF_TYPE.format('Version')}",
        "type.lost type tfx_registry.registry.Version", "all"),
    "type of events renamed": Case(
        f"UPDATE Type SET name = 'Event' WHERE {OF_TYPE.format('Event')}",
        "type.lost type tfx_registry.registry.Event", "all"),
    "type of heads made one of executions": Case(
        f"UPDATE Type SET type_kind = 0 WHERE {OF_TYPE.format('Model')}",
        "type.lost type tfx_registry.registry.Model", "all"),
    "types of heads and sources removed": Case(
        f"DELETE FROM Type WHERE {OF_TYPE.format('Model')} OR {OF_TYPE.format('Source')}",
        "type.lost type tfx_registry.registry.Model, type.lost type tfx_registry.registry.Source",
        "all"),
    "types of contents and versions exchanged": Case(
        f"UPDATE Type SET id = -1 WHERE {OF_TYPE.format('Version')};"
        "UPDATE Type SET id = (SELECT type_id FROM Artifact WHERE external_id LIKE"
        f" 'tfx_registry:v:%') WHERE {OF_TYPE.format('Content')};"
        "UPDATE Type SET id = (SELECT type_id FROM Artifact WHERE external_id LIKE"
        " 'tfx_registry:d:%') WHERE id = -1",
        "type.lost type tfx_registry.registry.Content,"
        " type.lost type tfx_registry.registry.Version", "all"),
    # No damage
    "rows of other programs": Case(STRANGERS, ""),
    "what ML Metadata counts to a model": Case(
        "DELETE FROM Attribution; DELETE FROM Association", ""),
    "rows that lead nowhere": Case(ORPHANS, ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with eleven events of penguin with everything in them, and one of auk."""
    folder = tmp_path_factory.mktemp("template")
    path = folder / "r.sqlite"
    model = folder / "model"
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        for number in (1, 2, 3):
            model.write_text(f"bytes {(number + 1) // 2}", encoding="utf-8")
            registry.register(
                "Penguin", model, description="long \\ ~ é " * 400, labels={"team": "birds"},
                metrics=[Metric("auc", 0.1 + 0.2), Metric("loss", float("nan"))],
                sources=[LineageSource("examples", "Examples", "/data/1")], actor="ada",
            )  # fmt: skip
        for number in (1, 2):
            now = registry.serving("penguin")
            decision = Decided(
                number, Verdict.PASSED, registry.get("penguin", number).digest, "production",
                serving_seq=now.seq if now else 0,
            )  # fmt: skip
            registry.record_decision("penguin", decision, actor="gate")
            registry.record_promotion("penguin", number, "/serving", "production", actor="bob")
        registry.set_alias("penguin", "champion", 1)
        registry.set_alias("penguin", "champion", 3)
        registry.approve("penguin", 2, actor="eve", reason="good")
        registry.archive("penguin", 1)
        registry.register("auk", model)
        assert registry.head("penguin").seq == 11
    return path


@pytest.fixture
def damaged(template: Path, tmp_path: Path) -> Callable[[str], ModelRegistry]:
    """Changes a copy with SQL, and opens it then."""

    def damage(sql: str) -> ModelRegistry:
        path = tmp_path / "r.sqlite"
        shutil.copyfile(template, path)
        connection = sqlite3.connect(path)
        before = connection.total_changes
        connection.executescript(sql)
        connection.commit()
        assert connection.total_changes > before
        connection.close()
        return ModelRegistry.open(f"sqlite:///{path}", create=False)

    return damage


def everything(registry: ModelRegistry) -> str:
    """What people see of the registry, as text."""
    return codec.dumps(
        [
            [
                head,
                registry.list_versions(head.model),
                [e.text for e in registry.history(head.model)],
            ]
            for head in registry.list_models()
        ]
    )


def found(registry: ModelRegistry, *, repair: bool = False) -> str:
    findings = registry.fsck(repair=repair).findings
    assert all(finding.problem for finding in findings)
    return ", ".join(f"{f.code} {f.thing}" for f in findings)


def test_nothing_reads_copied_rows(damaged: Callable[[str], ModelRegistry], template: Path) -> None:
    copies = copy("Context", HEAD, "PENGUIN") + copy("Artifact", V2, "penguin@2", ", uri, state")
    with (
        damaged(copies + copy("Execution", E4, "op:mine")) as registry,
        ModelRegistry.open(f"sqlite:///{template}", create=False) as whole,
    ):
        assert everything(registry) == everything(whole)
        assert len(registry.fsck().findings) == 3


@pytest.mark.parametrize("name", CASES)
def test_damage_by_sql(damaged: Callable[[str], ModelRegistry], template: Path, name: str) -> None:
    case = CASES[name]
    with damaged(case.sql) as registry:
        assert found(registry) == case.found
        assert found(registry, repair=True) == (case.found if case.left == "all" else case.left)
        if case.left == "":
            with ModelRegistry.open(f"sqlite:///{template}", create=False) as whole:
                assert everything(registry) == everything(whole)
                sources = [edge.role for edge in registry.lineage("penguin", 3).edges]
                assert sources == [edge.role for edge in whole.lineage("penguin", 3).edges]


@pytest.mark.parametrize("name", ["head with a byte that is no text", "head without a record"])
def test_a_damaged_head_is_named_with_what_mends_it(
    damaged: Callable[[str], ModelRegistry], name: str
) -> None:
    with damaged(CASES[name].sql) as registry:
        for look in (registry.list_models, lambda: registry.head("penguin")):
            with pytest.raises(IntegrityError, match=r"the head of 'penguin'.*fsck penguin"):
                look()
        registry.fsck("penguin", repair=True)
        assert registry.head("penguin").latest == 3


@pytest.mark.parametrize(
    "sql",
    [
        CASES["event with a byte that is no text"].sql,
        CASES["event without a record"].sql,
        replace("Execution", E4, '"kind":', '"sort":'),
        replace("Execution", E4, '"kind":"', '"kind":"of-a-newer-release-'),
    ],
)
def test_a_damaged_event_is_named(damaged: Callable[[str], ModelRegistry], sql: str) -> None:
    with damaged(sql) as registry:
        assert registry.get("penguin", 2).number == 2
        with pytest.raises(IntegrityError, match=r"event 4 of 'penguin'.*fsck penguin"):
            registry.history("penguin")
