import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfx_registry.pipelines.demo.directory import (
    MARKER_NAME,
    DirectoryRefusedError,
    fresh_directory,
)


def leave_a_run(path: Path) -> None:
    with fresh_directory(path) as directory:
        directory.log.write_text("log")
        directory.database.write_text("database")
        Path(f"{directory.database}-journal").touch()
        (directory.serving("penguin") / "1").mkdir(parents=True)
        (path / "data" / "train").mkdir(parents=True)
        (path / "pipeline").mkdir()


def test_a_missing_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    with fresh_directory(tmp_path / "a" / "b") as directory:
        assert directory.root.is_dir()

    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == [MARKER_NAME]


def test_an_empty_directory_is_used(tmp_path: Path) -> None:
    with fresh_directory(tmp_path) as directory:
        assert directory.root == tmp_path


def test_a_second_run_starts_with_nothing_of_the_first(tmp_path: Path) -> None:
    leave_a_run(tmp_path)
    assert len(list(tmp_path.iterdir())) == 7

    with fresh_directory(tmp_path):
        assert [p.name for p in tmp_path.iterdir()] == [MARKER_NAME]


def test_files_that_the_demo_did_not_make_survive_a_second_run(tmp_path: Path) -> None:
    leave_a_run(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")

    leave_a_run(tmp_path)

    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_a_link_points_at_survives(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "model").touch()
    root = tmp_path / "demo"
    leave_a_run(root)
    (root / "pipeline").rmdir()
    (root / "pipeline").symlink_to(precious)

    leave_a_run(root)

    assert (precious / "model").exists()


def test_a_foreign_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    for name in ("data", "serving"):
        (tmp_path / name).mkdir()
    (tmp_path / "metadata.sqlite").write_text("precious")

    with (
        pytest.raises(DirectoryRefusedError, match=r"was not made by the demo.*--output-dir"),
        fresh_directory(tmp_path),
    ):
        pass

    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "metadata.sqlite", "serving"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DirectoryRefusedError, match="is a file"), fresh_directory(path):
            pass


@pytest.mark.parametrize("error", [PermissionError(13, "x", "y"), FileExistsError(17, "x", "y")])
def test_errors_of_the_demo_itself_are_not_blamed_on_the_directory(
    tmp_path: Path, error: OSError
) -> None:
    with pytest.raises(type(error)), fresh_directory(tmp_path):
        raise error


def test_two_runs_cannot_share_a_directory(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from tfx_registry.pipelines.demo.directory import fresh_directory\n"
        "with fresh_directory(Path(sys.argv[1])): print('got it')"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]

    with fresh_directory(tmp_path):
        (tmp_path / "data").mkdir()
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
        assert "another demo is running" in second.stderr
        assert (tmp_path / "data").exists()
    third = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250)

    assert third.stdout == "got it\n"


def test_the_registry_is_named_as_the_user_named_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with fresh_directory(Path("demo_output")) as directory:
        assert directory.registry_uri == "sqlite:///demo_output/metadata.sqlite"
    with fresh_directory(Path.cwd() / "demo_output") as directory:
        assert (
            directory.registry_uri == f"sqlite:///{os.fspath(tmp_path)}/demo_output/metadata.sqlite"
        )
