"""Edits of a model config by hand while a promoter changes it: none is lost."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tfx_registry.errors import ServingDirectoryError
from tfx_registry.serving import model_config_document, replacing
from tfx_registry.serving.model_config import ServedModel, SpecificVersions, put_model
from tfx_registry.serving.model_config_file import ModelConfigFile

HAND = "# by hand\n"


def model(name: str, number: int) -> ServedModel:
    return ServedModel(name, f"/models/{name}", SpecificVersions((number,)), {"stable": number})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "models.config"
    path.write_text(put_model("", model("a", 1)))
    return path


def by_rename(path: Path, text: str) -> None:
    new = path.with_name("editor")
    new.write_text(text)
    new.replace(path)


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


EDITORS = pytest.mark.parametrize("edit", [by_rename, in_place])


def put(path: Path, served: ServedModel) -> bool:
    with ModelConfigFile.lock(path) as file:
        return file.put(served)


def check(path: Path, number: int = 2) -> None:
    assert path.read_text().startswith(HAND)
    assert ModelConfigFile.peek(path) == (model("a", number), model("b", 7))
    assert ModelConfigFile.edits_left(path) == ()


def edited(path: Path) -> str:
    """What somebody who edits now would write: a comment, and another model."""
    return HAND + put_model(path.read_text(), model("b", 7))


def once(
    monkeypatch: pytest.MonkeyPatch, name: str, do: Callable[[], None], *, after: bool
) -> None:
    """Does something once, right before or after a step of `replacing`."""
    original, left = getattr(replacing, name), [do]

    def step(*args: object) -> object:
        if left and not after:
            left.pop()()
        done = original(*args)
        if left:
            left.pop()()
        return done

    monkeypatch.setattr(replacing, name, step)


@EDITORS
@pytest.mark.parametrize("can_exchange", [True, False])
def test_an_edit_after_the_file_was_read(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    edit: Callable[[Path, str], None],
    can_exchange: bool,
) -> None:
    if not can_exchange:
        monkeypatch.setattr(replacing, "exchange", lambda *_: False)
    once(monkeypatch, "_write", lambda: edit(path, edited(path)), after=True)
    put(path, model("a", 2))
    check(path)


@EDITORS
def test_an_edit_in_the_last_instant(
    path: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[Path, str], None]
) -> None:
    once(monkeypatch, "exchange", lambda: edit(path, edited(path)), after=False)
    put(path, model("a", 2))
    check(path)


@EDITORS
def test_an_edit_of_the_new_file_while_the_old_one_is_put_back(
    path: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[Path, str], None]
) -> None:
    """Two edits within one change: the first is in the file, the second is kept and brought in."""
    exchange, calls = replacing.exchange, []

    def crossed(first: Path, second: Path) -> bool:
        calls.append(first)
        if len(calls) == 1:
            edit(path, edited(path))
        elif len(calls) == 2:
            edit(path, put_model("# second\n", model("c", 9)))
        return exchange(first, second)

    monkeypatch.setattr(replacing, "exchange", crossed)
    put(path, model("a", 2))
    put(path, model("a", 3))
    assert path.read_text().startswith(HAND)
    (kept,) = tmp_edits(path)
    assert kept.read_text().startswith("# second\n")
    (problem,) = ModelConfigFile.edits_left(path)
    assert repr(str(kept)) in problem


def tmp_edits(path: Path) -> list[Path]:
    return sorted(path.parent.glob("models.config.edited*"))


def test_an_editor_that_writes_into_the_file_that_was_replaced(path: Path) -> None:
    """It had opened the file before, and saves afterwards."""
    text = edited(path)
    with path.open("r+") as editor:
        put(path, model("a", 2))
        editor.write(text)
        editor.truncate()
    assert not path.read_text().startswith(HAND)
    (problem,) = ModelConfigFile.edits_left(path)
    assert "reconcile" in problem
    assert put(path, model("a", 3))
    check(path, 3)


def test_an_edit_that_was_overtaken_twice_is_kept_for_somebody_to_look_at(path: Path) -> None:
    with path.open("r+") as editor:
        put(path, model("a", 2))
        put(path, model("a", 3))
        editor.write("model_config_list {  # half of it")
        editor.truncate()
    put(path, model("a", 4))
    assert ModelConfigFile.peek(path) == (model("a", 4),)
    (kept,) = tmp_edits(path)
    assert kept.read_text() == "model_config_list {  # half of it"
    (problem,) = ModelConfigFile.edits_left(path)
    assert repr(str(kept)) in problem
    kept.unlink()
    assert ModelConfigFile.edits_left(path) == ()


class Killed(BaseException):
    """Like SIGKILL: nothing that was to follow happens."""


@EDITORS
@pytest.mark.parametrize("after", [True, False])
def test_a_promoter_that_dies_around_the_exchange(
    path: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[Path, str], None], after: bool
) -> None:
    exchange = replacing.exchange

    def dying(first: Path, second: Path) -> bool:
        edit(path, edited(path))
        if after:
            exchange(first, second)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(replacing, "exchange", dying)
        with pytest.raises(Killed):
            put(path, model("a", 2))
    assert put(path, model("a", 3))
    check(path, 3)


def test_what_was_replaced_stays_for_a_minute(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, model("a", 2))
    put(path, model("a", 3))
    assert len(list(path.parent.glob(".models.config.*"))) == 2
    monkeypatch.setattr(replacing, "_KEEP_SECONDS", -1.0)
    put(path, model("a", 3))
    assert sorted(p.name for p in path.parent.iterdir()) == ["models.config", "models.config.lock"]


def test_a_file_that_comes_while_there_was_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = edited(path)
    path.unlink()
    once(monkeypatch, "_write", lambda: path.write_text(text), after=True)
    put(path, model("a", 2))
    check(path)


def test_an_editor_that_renames_the_file_away_for_a_moment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = edited(path)
    once(monkeypatch, "exchange", path.unlink, after=False)
    original, reads = ModelConfigFile._read_bytes, []

    def read(file: ModelConfigFile) -> bytes | None:
        reads.append(1)
        if not path.exists():
            path.write_text(text)
        return original(file)

    monkeypatch.setattr(ModelConfigFile, "_read_bytes", read)
    put(path, model("a", 2))
    assert len(reads) == 2
    check(path)


def test_something_that_never_stops_writing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_config_document, "_MOST_ATTEMPTS", 3)
    write, count = replacing._write, []

    def busy(new: Path, content: bytes, mode: int) -> None:
        count.append(1)
        path.write_text(path.read_text() + f"# {len(count)}\n")
        write(new, content, mode)

    monkeypatch.setattr(replacing, "_write", busy)
    with pytest.raises(ServingDirectoryError, match="changed it 3 times"):
        put(path, model("a", 2))
    assert path.read_text().endswith("# 1\n# 2\n# 3\n")


EDITOR = """
import sys
for number in range(1, int(sys.argv[2]) + 1):
    with open(sys.argv[1], "ab") as editor:
        editor.write(b"# edit %d\\n" % number)
"""


def test_lines_that_somebody_appends_while_promoters_write_are_all_there(path: Path) -> None:
    count = 200
    editor = subprocess.Popen([sys.executable, "-c", EDITOR, str(path), str(count)])
    rng, number = random.Random(1), 1
    while editor.poll() is None:
        number += 1
        put(path, model(rng.choice("ab"), number))
    assert editor.returncode == 0
    put(path, model("a", number + 1))
    texts = [path.read_text(), *(p.read_text() for p in tmp_edits(path))]
    lines = {line for text in texts for line in text.splitlines()}
    assert {f"# edit {n}" for n in range(1, count + 1)} <= lines
