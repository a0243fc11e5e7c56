"""The wheel and the sdist hold every file of the package exactly once, and nothing else."""

import email
import tarfile
import zipfile
from collections import Counter
from email.message import Message
from pathlib import Path

import pytest

pytestmark = pytest.mark.source_tree

FOLDERS = {
    "src/tfx_registry": "tfx_registry",
    "components": "tfx_registry/components",
    "pipelines": "tfx_registry/pipelines",
}

SUFFIXES = {".py", ".csv", ".j2", ".js", ".css"}


def list_package_files(tree: Path) -> set[str]:
    """Returns where each packaged file of a source tree belongs in the wheel."""
    names = set()
    for folder, target in FOLDERS.items():
        for path in (tree / folder).rglob("*"):
            below = path.relative_to(tree / folder)
            through_link = any((tree / folder / part).is_symlink() for part in below.parents)
            packaged = path.suffix in SUFFIXES or path.name == "py.typed"
            if path.is_file() and packaged and not through_link:
                names.add(f"{target}/{below.as_posix()}")
    return names


def read_metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_string(archive.read(name).decode("utf-8"))


def test_wheel_holds_every_file_of_the_three_folders_exactly_once(built):
    with zipfile.ZipFile(built.wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {name: count for name, count in Counter(names).items() if count > 1} == {}
    assert set(names) == list_package_files(built.tree)


def test_wheel_installs_no_top_level_name_but_ours(built):
    with zipfile.ZipFile(built.wheel) as archive:
        top_levels = {name.split("/", 1)[0] for name in archive.namelist()}
    (metadata_folder,) = top_levels - {"tfx_registry"}
    assert metadata_folder.endswith(".dist-info")


def test_wheel_serves_every_platform(built):
    assert built.wheel.name.endswith("-py3-none-any.whl")


def test_sdist_holds_what_a_build_needs_and_follows_no_link(built):
    with tarfile.open(built.sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"setup.py", "pyproject.toml", "LICENSE", "components/__init__.py"} <= names
    assert not [name for name in names if name.startswith("src/tfx_registry/components")]
    assert not [name for name in names if name.startswith("src/tfx_registry/pipelines")]


def test_metadata_states_license_python_and_version(built):
    metadata = read_metadata(built.wheel)
    version = {}
    exec((built.tree / "src/tfx_registry/_version.py").read_text(encoding="utf-8"), version)
    assert metadata["Name"] == "tfx-registry"
    assert metadata["Version"] == version["__version__"]
    assert "Apache-2.0" in (metadata["License-Expression"] or metadata["License"])
    assert metadata["License-File"] == "LICENSE"
    assert set(metadata["Requires-Python"].split(",")) == {">=3.10", "<3.14"}


def test_core_needs_neither_tfx_nor_tensorflow(built):
    required = [
        line for line in read_metadata(built.wheel).get_all("Requires-Dist", []) if ";" not in line
    ]
    names = {line.split(">")[0].split("<")[0].strip() for line in required}
    assert names == {"ml-metadata", "click", "jinja2", "pyyaml", "rich"}


def test_extras_are_declared(built):
    extras = set(read_metadata(built.wheel).get_all("Provides-Extra", []))
    assert {"tfx", "examples", "notebooks", "airflow", "kfp", "dev"} <= extras
