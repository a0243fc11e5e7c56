"""Long lists of versions are read in another way than single ones: both must see the same."""

from __future__ import annotations

import contextlib
import pickle
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import ModelRegistry
from tfx_registry.errors import IntegrityError
from tfx_registry.records import Origin, Version
from tfx_registry.registry import mlmd_slim
from tfx_registry.registry.mlmd_store import MlmdStore
from tfx_registry.registry.mlmd_text import forget_versions, write_record
from tfx_registry.registry.uri import RegistryUri
from tfx_registry.registry.version_text import SHORT_FIELDS

#: More than are read at once.
COUNT = 20


def fill(registry: ModelRegistry, model: Path) -> None:
    for number in range(1, COUNT + 1):
        # Some records are one piece, some are cut into several; all of it needs escaping.
        registry.register("Penguin", model, description="~\\\u00e9\U0001f427" * 60 * (number % 5))


def test_a_long_list_holds_what_single_reads_give(
    registry: ModelRegistry, plain_model: Path
) -> None:
    fill(registry, plain_model)
    forget_versions()
    listed = registry.list_versions("penguin")
    forget_versions()
    single = [registry.get("penguin", number) for number in range(COUNT, 0, -1)]
    assert listed == single
    forget_versions()
    assert pickle.loads(pickle.dumps(registry.list_versions("penguin"))) == single
    found = registry._store.read_versions("penguin", range(1, COUNT + 20))
    assert sorted(found) == list(range(1, COUNT + 1))
    assert {number: version.number for number, version in found.items()} == {
        number: number for number in found
    }
    assert registry._store.read_versions("nothing", range(1, COUNT + 20)) == {}


def change(registry: ModelRegistry, number: int, edit: Callable[[pb.Artifact], object]) -> None:
    store = registry._store
    assert isinstance(store, MlmdStore)
    (node,) = store._find("artifacts", [f"tfx_registry:v:penguin@{number}"])
    edit(node)
    store._session.write(lambda s: s.put_artifacts([node]))


def test_what_a_repair_took_out_is_not_listed(
    new_uri: Callable[[str], str], plain_model: Path
) -> None:
    with ModelRegistry.open(new_uri("sqlite")) as registry:
        fill(registry, plain_model)
        change(registry, 7, lambda node: setattr(node, "state", pb.Artifact.DELETED))
        numbers = [version.number for version in registry.list_versions("penguin")]
        assert numbers == [n for n in range(COUNT, 0, -1) if n != 7]


@pytest.mark.parametrize("text", ["", "{", '{"model":"Penguin"}', "[1]"])
def test_one_damaged_record_is_named_and_hides_no_other(
    new_uri: Callable[[str], str], plain_model: Path, text: str
) -> None:
    def damage(node: pb.Artifact) -> None:
        for key in [key for key in node.custom_properties if key.startswith("record")]:
            del node.custom_properties[key]
        node.custom_properties["record"].string_value = text

    with ModelRegistry.open(new_uri("sqlite")) as registry:
        fill(registry, plain_model)
        change(registry, 7, damage)
        listed = registry.list_versions("penguin")
        assert [version.number for version in listed[:13]] == list(range(20, 7, -1))
        for look in (lambda: listed[13].number, lambda: registry.get("penguin", 7)):
            with pytest.raises(IntegrityError, match=r"cannot read version 7 of 'penguin'.*fsck"):
                look()
        assert registry.get("penguin", 6) == listed[14]
        (finding,) = registry.fsck().findings
        assert finding.code in ("version.unreadable", "version.differs")


def short_fields(version: Version) -> dict[str, object]:
    names = (*SHORT_FIELDS, "state", "uri", "run_id", "ref")
    return {name: getattr(version, name) for name in names}


def test_a_record_with_a_byte_that_is_no_text_is_named(
    new_uri: Callable[[str], str], plain_model: Path
) -> None:
    """As on a disk that rots; protobuf hands such text over as bytes."""
    uri = new_uri("sqlite")
    with ModelRegistry.open(uri) as registry:
        fill(registry, plain_model)
    with contextlib.closing(sqlite3.connect(RegistryUri.parse(uri).path)) as database, database:
        changed = database.execute(
            "UPDATE ArtifactProperty SET string_value ="
            " replace(string_value, '\"actor\"', CAST(x'ff' AS TEXT)) WHERE name = 'record' AND"
            " artifact_id = (SELECT id FROM Artifact WHERE external_id = ?)",
            ["tfx_registry:v:penguin@7"],
        )
        assert changed.rowcount == 1
    with ModelRegistry.open(uri) as registry:
        listed = registry.list_versions("penguin")
        others = [version for at, version in enumerate(listed) if at != COUNT - 7]
        assert all(version.actor for version in others)
        for look in (lambda: listed[COUNT - 7].actor, lambda: registry.get("penguin", 7)):
            with pytest.raises(IntegrityError, match=r"cannot read version 7 of 'penguin'.*fsck"):
                look()


def test_what_a_list_shows_is_what_all_of_the_record_says(
    registry: ModelRegistry, plain_model: Path, tmp_path: Path
) -> None:
    fill(registry, plain_model)
    hostile = '~\\",\\"facts":{"uri":"/x"}}\u2028\U0001f427'
    for number in range(COUNT + 1, COUNT + 16):
        path = tmp_path / (hostile.replace("/", "") if number % 2 else "model")
        path.write_text(f"model {number}", encoding="utf-8")
        registry.register(
            "Penguin", path, actor=hostile, description=hostile * (100 if number % 3 == 0 else 1),
            labels={"facts": hostile, "uri": "x"}, metrics={"facts": number / 7},
            origin=Origin(run_id=hostile if number % 4 else "", libraries={"uri": hostile}),
        )  # fmt: skip
    registry.set_alias("penguin", "production", 21)
    registry.approve("penguin", 22, actor="bob", reason=hostile)
    registry.reject("penguin", 23, actor="bob", reason=hostile)
    registry.archive("penguin", 24, reason=hostile)
    forget_versions()
    listed = [short_fields(version) for version in registry.list_versions("penguin")]
    forget_versions()
    assert listed == [
        short_fields(registry.get("penguin", number)) for number in range(COUNT + 15, 0, -1)
    ]
    assert registry.fsck().findings == ()


def test_a_list_does_not_read_what_nobody_looks_at(
    new_uri: Callable[[str], str], plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelRegistry.open(new_uri("sqlite")) as registry:
        fill(registry, plain_model)
        listed = registry.list_versions("penguin")
        with monkeypatch.context() as patch:
            patch.setattr(mlmd_slim, "version_of", None)
            assert len([short_fields(version) for version in listed[-2:]]) == 2
        assert [version.digest for version in listed] == [listed[0].digest] * COUNT


def test_a_name_that_stands_twice_in_a_record_is_found_and_mended(
    new_uri: Callable[[str], str], plain_model: Path
) -> None:
    def deceive(node: pb.Artifact) -> None:
        value = node.custom_properties["record"]
        assert '"actor":"' in value.string_value
        # Whoever reads all of it sees the second one.
        value.string_value = re.sub(
            r'"actor":"([^"]*)"(.*)\}$', r'"actor":"mallory"\2,"actor":"\1"}', value.string_value
        )

    with ModelRegistry.open(new_uri("sqlite")) as registry:
        fill(registry, plain_model)
        change(registry, 5, deceive)
        (finding,) = registry.fsck().findings
        assert finding.code == "version.index"
        assert finding.thing == "version 5"
        assert "lists read its 'actor' as 'mallory'" in finding.problem
        registry.fsck(repair=True)
        assert registry.fsck().findings == ()
        assert registry.list_versions("penguin")[-5].actor == registry.get("penguin", 5).actor


def test_records_in_the_order_of_earlier_releases_are_read_and_hold(
    new_uri: Callable[[str], str], plain_model: Path
) -> None:
    with ModelRegistry.open(new_uri("sqlite")) as registry:
        fill(registry, plain_model)
        expected = [short_fields(version) for version in registry.list_versions("penguin")]
        for number in range(1, COUNT, 2):
            change(
                registry, number,
                lambda node, n=number: write_record(node, registry.get("penguin", n)),
            )  # fmt: skip
        forget_versions()
        assert [short_fields(version) for version in registry.list_versions("penguin")] == expected
        assert registry.fsck().findings == ()
