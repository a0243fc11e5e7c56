"""`pip install .` and `pip install -e .` both give the package, its parts and the command."""

import json
import subprocess
import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

import pytest

# find_spec imports the parent only, so that nothing here has to import TensorFlow.
REPORT = """
import importlib.util, json
from importlib import metadata
names = ["tfx_registry", "tfx_registry.components", "tfx_registry.pipelines", "tfx_registry.cli"]
names += ["tfx_registry.components.promoter", "components", "pipelines"]
specs = {name: importlib.util.find_spec(name) for name in names}
scripts = metadata.distribution("tfx-registry").entry_points
print(json.dumps({
    "origins": {name: spec and spec.origin for name, spec in specs.items()},
    "version": metadata.version("tfx-registry"),
    "scripts": {s.name: s.value for s in scripts if s.group == "console_scripts"},
}))
"""


def make_environment(folder: Path) -> Path:
    """Makes a virtual environment that sees the dependencies of this one; returns its python.

    A .pth file brings in this environment's packages, but not the .pth files among them: an
    editable tfx-registry out there stays out of sight.
    """
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.source_tree
@pytest.mark.parametrize("options", [(), ("--editable",)], ids=["plain", "editable"])
def test_pip_install_gives_package_parts_and_command(options, built, tmp_path):
    python = make_environment(tmp_path / "venv")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index")
    pip += ("--no-deps", "--no-build-isolation", "--ignore-installed")
    run(*pip, *options, built.tree, cwd=tmp_path)

    report = json.loads(run(python, "-c", REPORT, cwd=tmp_path))

    home = built.tree if options else tmp_path / "venv"
    origins = report["origins"]
    assert origins.pop("components") is None
    assert origins.pop("pipelines") is None
    assert {name: str(home) in str(origin) for name, origin in origins.items()} == dict.fromkeys(
        origins, True
    )
    assert report["scripts"] == {"tfx-registry": "tfx_registry.cli.main:main"}
    assert (tmp_path / "venv" / "bin" / "tfx-registry").is_file()


@pytest.mark.source_tree
@pytest.mark.parametrize("name", ["components", "pipelines"])
def test_folder_imported_by_its_own_name_is_refused(name, repository):
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=repository,
    )
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert f"tfx_registry.{name}" in done.stderr


def test_installed_version_is_the_one_in_the_package():
    from tfx_registry import __version__

    assert metadata.version("tfx-registry") == __version__


def test_installed_command_is_the_declared_one():
    (script,) = metadata.entry_points(group="console_scripts", name="tfx-registry")
    assert script.value == "tfx_registry.cli.main:main"
