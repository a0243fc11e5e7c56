"""Long lists of versions are read in another way than single ones: both must see the same."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import ModelRegistry
from tfx_registry.errors import IntegrityError
from tfx_registry.registry.mlmd_store import MlmdStore
from tfx_registry.registry.mlmd_text import forget_versions

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
