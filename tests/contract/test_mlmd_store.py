"""What only the store in ML Metadata does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import ModelRegistry
from tfx_registry.errors import InvalidUriError, StoreUnavailableError
from tfx_registry.records import LineageSource
from tfx_registry.registry.mlmd_store import decode_text, encode_text
from tfx_registry.registry.uri import RegistryUri


def open_mlmd(path: Path) -> metadata_store.MetadataStore:
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    return metadata_store.MetadataStore(config)


@given(st.text())
def test_text_is_stored_without_a_backslash(text: str) -> None:
    encoded = encode_text(text)
    assert "\\" not in encoded
    assert decode_text(encoded) == text


def test_what_one_registry_writes_another_reads(plain_model: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/r.sqlite"
    with ModelRegistry.open(uri) as writer:
        made = writer.register("penguin", plain_model)
    with ModelRegistry.open(uri, create=False) as reader:
        assert reader.get("penguin", 1) == made


def test_no_stored_text_is_long_or_has_a_backslash(plain_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        registry.register("penguin", plain_model, description="\\é" * 5000, reason="\\")
    store = open_mlmd(path)
    nodes = [*store.get_artifacts(), *store.get_executions(), *store.get_contexts()]
    texts = [v.string_value for n in nodes for v in n.custom_properties.values()]
    assert len(texts) > 20
    assert max(len(text.encode()) for text in texts) <= 2000
    assert not any("\\" in text for text in texts)


def test_lineage_uses_the_pipelines_own_artifacts(plain_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.sqlite"
    store = open_mlmd(path)
    type_id = store.put_artifact_type(pb.ArtifactType(name="Examples"))
    (known,) = store.put_artifacts([pb.Artifact(type_id=type_id, uri="/data/1")])
    sources = [
        LineageSource("examples", "Examples", "/data/1"),
        LineageSource("schema", "Schema", "/elsewhere/2"),
    ]
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        registry.register("penguin", plain_model, sources=sources)
        registry.register("penguin", plain_model, sources=sources)
    (version,) = (a for a in store.get_artifacts() if a.name == "penguin@1")
    (made,) = (
        e for e in store.get_events_by_artifact_ids([version.id]) if e.type == pb.Event.OUTPUT
    )
    edges = store.get_events_by_execution_ids([made.execution_id])
    inputs = {e.path.steps[0].key: e.artifact_id for e in edges if e.type == pb.Event.INPUT}
    assert inputs["examples"] == known
    (copied,) = store.get_artifacts_by_id([inputs["schema"]])
    assert (copied.type, copied.uri) == ("tfx_registry.registry.Source", "/elsewhere/2")
    assert len([a for a in store.get_artifacts() if a.uri == "/elsewhere/2"]) == 1
    # The pipeline's own artifact is as it was.
    assert not store.get_artifacts_by_id([known])[0].custom_properties


def test_a_missing_database_is_not_made_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "typo.sqlite"
    with pytest.raises(StoreUnavailableError, match="does not exist"):
        ModelRegistry.open(f"sqlite:///{path}", create=False)
    assert not path.exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"'.*nowhere' does not exist"):
        ModelRegistry.open(f"sqlite:///{tmp_path}/nowhere/r.sqlite")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100, encoding="utf-8")
    with pytest.raises(StoreUnavailableError, match="not a database"):
        ModelRegistry.open(f"sqlite:///{path}")
    assert path.read_text(encoding="utf-8").startswith("not a database")


def test_a_directory_as_database(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError):
        ModelRegistry.open(f"sqlite:///{tmp_path}")


def test_a_deleted_database_is_an_error_not_a_wait(plain_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with ModelRegistry.open(f"sqlite:///{folder}/r.sqlite") as registry:
        registry.register("penguin", plain_model)
        shutil.rmtree(folder)
        with pytest.raises(StoreUnavailableError, match="did not answer"):
            registry.register("penguin", plain_model)


@pytest.mark.parametrize(
    "uri",
    [
        "mysql://ada:geheim@db/registry",
        "postgresql://:geheim@db/registry",
        "sqlite:///r.sqlite?password=geheim",
        "sqlite:///r.sqlite?PWD=geheim",
    ],
)
def test_a_password_in_the_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(InvalidUriError, match="TFX_REGISTRY_PASSWORD") as caught:
        ModelRegistry.open(uri)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["", "r.sqlite", "/r.sqlite", "sqlite:", "sqlite://", "sqlite:///", "sqlite://r.sqlite",
            "oracle://db", "sqlite:///folder/", "memory://x"],
)  # fmt: skip
def test_bad_uris(uri: str) -> None:
    with pytest.raises(InvalidUriError, match="sqlite:///"):
        RegistryUri.parse(uri)


def test_the_environment_names_the_registry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TFX_REGISTRY_URI", f"sqlite:///{tmp_path}/env.sqlite")
    with ModelRegistry.open() as registry:
        assert registry.list_models() == []
    assert (tmp_path / "env.sqlite").exists()
    monkeypatch.delenv("TFX_REGISTRY_URI")
    with pytest.raises(InvalidUriError, match="TFX_REGISTRY_URI"):
        ModelRegistry.open()


def test_relative_and_absolute_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert RegistryUri.parse("sqlite:///a/b.sqlite").path == "a/b.sqlite"
    assert RegistryUri.parse("sqlite:////a/b.sqlite").path == "/a/b.sqlite"
    assert str(RegistryUri.parse("sqlite:////a/b.sqlite")) == "sqlite:////a/b.sqlite"
    absolute = RegistryUri.parse("sqlite:///b.sqlite").absolute()
    assert absolute.path == str(tmp_path / "b.sqlite")
