"""Every command and code block of the documentation runs, page by page, in order.

A page's comments `<!-- run: ... -->` say where: `setup=NAME` begins in a new place (see conftest),
`exits=0,4` are the exit codes of the commands of a block, `before=FILE` writes the last block of
JSON to a file, and `most=10` is the greatest number of lines that a change of a pipeline may add.
A block of text says what it is: `as=output` is what the commands before it print on a terminal with
80 columns, `as=demo` a part of what the demo prints, `as=expressions` what one may search for, and
`as=folders` what lies in a serving directory. All other text is listed in not_run.yaml.
"""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from rich.console import Console

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import cli, main
from tfx_registry.gate import GatePolicy
from tfx_registry.registry.access import AccessPolicy
from tfx_registry.registry.search import parse
from tfx_registry.testing.documents import Block, Command, blocks, commands, not_printed

pytestmark = pytest.mark.source_tree

ROOT = Path(__file__).resolve().parents[2]
#: What the command line says of itself, and design notes, which tell nobody to do anything.
_LEFT_OUT = {"docs/cli.md"}
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    if path.exists() and "design" not in path.parts
)
NOT_RUN: list[dict[str, str]] = yaml.safe_load(
    (Path(__file__).parent / "not_run.yaml").read_text(encoding="utf-8")
)
#: Programs beside ours that commands may use.
_PROGRAMS = {"mkdir", "mv", "cp", "ls", "cat"}
#: Programs that serve until they are stopped.
_SERVERS = ("tfx-registry ui", "python -m tfx_registry.testing.model_server")
_PORT = re.compile(r"\b8[35][02]1\b")
_SHELL = re.compile(r"[|<>;&]|\$\(")
_NEEDS_TFX = re.compile(r"\b(tfx|tfma|trainer|Promoter|VersionGate|ModelRegistrar)\b")


def exempted(page: str, text: str) -> dict[str, str] | None:
    """Returns the entry of the list of what is not run, if there is one."""
    found = (e for e in NOT_RUN if e["page"] == page and text.startswith(e["begins"]))
    return next(found, None)


@dataclass
class Reader:
    """Somebody who does what a page says.

    Attributes:
        page: The page, as path in the repository.
        new_place: Makes the place with a name, see conftest.
        monkeypatch: Takes back what the page exports.
        pipeline: Returns the names that a pipeline has, see conftest.
        place: Where they are.
        names: What their Python knows.
        data: The last block of data.
        screen: Returns what was printed since it was asked last.
        printed: What the commands of the last block printed.
    """

    page: str
    new_place: Callable[[str], Any]
    monkeypatch: pytest.MonkeyPatch
    pipeline: Callable[[], dict[str, Any]]
    place: Any = None
    names: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    screen: Callable[[], str] = str
    printed: str = ""

    def follow(self, block: Block) -> None:
        """Does what a block says."""
        if "setup" in block.options:
            self.place, self.names = self.new_place(block.options["setup"]), {}
        if self.place is None:
            self.place = self.new_place("serving")
        if "before" in block.options:
            Path(block.options["before"]).write_text(self.data, encoding="utf-8")
        if exempted(self.page, block.text) and block.language == "yaml":
            assert list(yaml.safe_load_all(block.text))
        elif block.language in ("bash", "") or not exempted(self.page, block.text):
            follow = getattr(self, f"_{block.language}", None)
            assert follow, f"nobody knows how to try {block.language!r}; see tests/docs"
            follow(block)

    def _bash(self, block: Block) -> None:
        expected = block.options.get("exits", "")
        self.screen()
        codes = iter(map(int, expected.split(","))) if expected else None
        for command in commands(block):
            entry = exempted(self.page, command.text)
            if entry:
                if command.text.startswith("tfx-registry"):
                    check_arguments(command)
                continue
            code = 0 if codes is None else next(codes)
            with self.monkeypatch.context() as only_here:
                done = self._run(command, only_here)
            assert done == code, f"{self.page}:{command.line}: exit code {done}: {command.text}"
        self.printed = self.screen()

    def _run(self, command: Command, only_here: pytest.MonkeyPatch) -> int:
        text = self._here(command.text)
        variables, words = Command(text, command.line).words()
        if words[:1] == ["export"]:
            for word in words[1:]:
                key, _, value = word.partition("=")
                if value != "...":
                    self.monkeypatch.setenv(
                        key, str(Path(value).expanduser()) if value.startswith("~") else value
                    )
            return 0
        for key, value in variables.items():
            only_here.setenv(key, value)
        if text.startswith(_SERVERS):
            return serves(words)
        assert words[0] in {"tfx-registry", *_PROGRAMS}, (
            f"nobody runs {command.text!r}: correct it, or add it to tests/docs/not_run.yaml"
        )
        if words[0] == "tfx-registry" and not _SHELL.search(
            re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
        ):
            return main(words[1:])
        return subprocess.run(["bash", "-c", text], check=False).returncode

    def _here(self, text: str) -> str:
        for old, new in self.place.replaced.items():
            text = text.replace(old, new)
        return text

    def _(self, block: Block) -> None:
        first = next(commands(block), None)
        shell = first is not None and first.text.split()[0] in {"tfx-registry", "export", "make"}
        (self._bash if shell else self._text)(block)

    def _python(self, block: Block) -> None:
        tree = ast.parse(self._here(block.text), f"{self.page}:{block.line}")
        if _NEEDS_TFX.search(block.text):
            self.names = {**self.pipeline(), **self.names}
        tree = ast.fix_missing_locations(Elision(self.names.get("elided", {})).visit(tree))
        if re.search(r"\bregistry\.", block.text) and "ModelRegistry.open" not in block.text:
            with ModelRegistry.open() as registry:
                self.names["registry"] = registry
                exec(compile(tree, f"{self.page}:{block.line}", "exec"), self.names)
            return
        exec(compile(tree, f"{self.page}:{block.line}", "exec"), self.names)

    def _yaml(self, block: Block) -> None:
        match = re.match(r"# (\S+\.yaml)\n", block.text)
        assert match, f"{self.page}:{block.line}: begin with a line '# name.yaml'"
        Path(match[1]).write_text(block.text, encoding="utf-8")
        policy = GatePolicy.load(match[1])
        assert GatePolicy.from_yaml(policy.to_yaml()) == policy

    def _sql(self, block: Block) -> None:
        assert self.place.sql, "no database server is here; say setup=postgresql"
        self.place.sql(block.text)

    def _json(self, block: Block) -> None:
        self.data = block.text
        AccessPolicy.from_json(block.text)

    def _diff(self, block: Block) -> None:
        before, after = ("".join(side) for side in sides(block.text))
        for text in (before, after):
            names = self.pipeline()
            tree = ast.fix_missing_locations(Elision(names["elided"]).visit(ast.parse(text)))
            exec(compile(tree, f"{self.page}:{block.line}", "exec"), names)
        if "most" in block.options:
            added = [line for line in block.text.splitlines() if line.startswith("+")]
            assert len(added) <= int(block.options["most"]), len(added)

    def _text(self, block: Block) -> None:
        kind = block.options.get("as")
        if kind == "expressions":
            for line in block.text.splitlines():
                parse(line)
        elif kind == "folders":
            found = what_lies_there(self.new_place)
            for name in drawn(block.text):
                pattern = re.compile(re.sub(r"<\w+>", r"[\\w.-]+", name.replace(".", r"\.")))
                assert any(map(pattern.fullmatch, found)), (name, sorted(found))
        elif kind == "output":
            compare(block.text, self.printed)
        else:
            assert kind == "demo", "say what this text is, or list it in tests/docs/not_run.yaml"
            printed = what_the_demo_prints(self.new_place)
            compare(block.text, printed, part=True)


def drawn(text: str) -> Iterator[str]:
    """Yields the names in a drawing of folders: what stands before three blanks in a line."""
    for line in text.splitlines():
        for path in re.split(r"\s{3,}", line.strip())[0].replace("...", "").split():
            yield path.rstrip("/").rpartition("/")[2]


def what_lies_there(new_place: Callable[[str], Any]) -> set[str]:
    """Returns the names of all that lies in serving directories in the course of their life."""
    from tfx_registry.serving import publish, shelf

    before = Path.cwd()
    names = {publish._STAGING, shelf._TRASH}  # there while something comes or goes
    base = new_place("serving").folder / "serving" / "penguin"
    (base / "1" / "saved_model.pb").write_bytes(b"changed")
    for words in (
        ("promote", "penguin:4", "--serving-dir", str(base)),
        ("reconcile", "--serving-dir", str(base), "--verify", "--quarantine", "--yes"),
        ("rollback", "penguin", "--serving-dir", str(base), "--reason", "a drawing"),
    ):
        assert main(words) == 0, words
    names |= {path.name for path in [base, *base.rglob("*")]}
    config = new_place("servers").folder / "srv" / "serving"
    names |= {path.name for path in config.rglob("*")}
    os.chdir(before)
    return names


def compare(shown: str, printed: str, *, part: bool = False) -> None:
    """Raises an AssertionError where a page does not show what was printed."""
    if piece := not_printed(shown, printed, part=part):
        raise AssertionError(f"not printed: {piece!r}; printed was:\n{printed}")


def what_the_demo_prints(new_place: Callable[[str], Any]) -> str:
    """Returns what the demo says of the versions, on a terminal with 80 columns."""
    from tfx_registry.pipelines.demo.console import show_versions

    before = Path.cwd()
    uri = f"sqlite:///{new_place('demo').folder}/demo_output/metadata.sqlite"
    os.chdir(before)
    console = Console(file=io.StringIO(), width=80, highlight=False)
    with ModelRegistry.open(uri) as registry:
        show_versions(console, registry.list_versions("penguin", newest_first=False))
    console.file.seek(0)
    return console.file.read()


class Elision(ast.NodeTransformer):
    """Puts what a page has shown before in the place of `...` among the arguments of a call."""

    def __init__(self, shown: dict[str, dict[str, str]]) -> None:
        """Takes expressions by function and argument."""
        self.shown = shown

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replaces a leading `...`."""
        self.generic_visit(node)
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and first.value is ...:
            given = {keyword.arg for keyword in node.keywords}
            shown = self.shown[ast.unparse(node.func)]
            node.args = node.args[1:]
            node.keywords += [
                ast.keyword(key, ast.parse(text, mode="eval").body)
                for key, text in shown.items()
                if key not in given
            ]
        return node


@contextlib.contextmanager
def where(place: str) -> Iterator[None]:
    """Names the place of an error."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise AssertionError(f"{place}: {error!r}") from error


def serves(words: list[str]) -> int:
    """Starts a server, asks it for something, and stops it; returns 0 where it has answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [_PORT.sub(str(port), word) for word in words]
    assert command != words, f"name the port: {words}"
    server = subprocess.Popen(command)
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return 0
            if server.poll() is not None:
                return server.returncode
            time.sleep(0.1)
        return -1
    finally:
        server.terminate()
        server.wait()


def sides(diff: str) -> tuple[list[str], list[str]]:
    """Returns the lines before and after a change."""
    lines = diff.splitlines(keepends=True)
    return (
        [line[1:] for line in lines if not line.startswith("+")],
        [line[1:] for line in lines if not line.startswith("-")],
    )


def check_arguments(command: Command) -> None:
    """Raises a UsageError where the command line would."""
    _, words = command.words()
    context = cli.make_context("tfx-registry", [w for w in words[1:] if not w.startswith("$")])
    group: click.Group = cli
    arguments = [*context._protected_args, *context.args]
    found = None
    while arguments:
        found = group.get_command(context, arguments[0])
        assert found is not None, command.text
        arguments = arguments[1:]
        if not isinstance(found, click.Group):
            break
        group = found
    assert found is not None, command.text
    try:
        found.make_context(found.name or "", list(arguments), parent=context)
    except click.BadParameter as error:
        if "does not exist" not in str(error):  # a file of the reader
            raise


def blocks_of(page: str) -> Iterator[Block]:
    return blocks((ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [page for page in PAGES if page not in _LEFT_OUT])
def test_a_reader_can_do_what_the_page_says(
    page: str,
    new_place: Callable[[str], Any],
    pipeline_names: Callable[[], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    reader = Reader(page, new_place, monkeypatch, pipeline_names)
    reader.screen = lambda: capfd.readouterr().out
    found = list(blocks_of(page))
    for block, after in itertools.zip_longest(found, found[1:]):
        with where(f"{page}:{block.line}"), monkeypatch.context() as screen:
            if after is not None and after.options.get("as") == "output":
                screen.setattr(type(sys.stdout), "isatty", lambda _: True)
                for name, value in (("COLUMNS", "80"), ("NO_COLOR", "1"), ("TERM", "dumb")):
                    screen.setenv(name, value)
            reader.follow(block)


def test_a_wrong_output_is_noticed() -> None:
    printed = "version  state\n1        passed, 2026-11-21 10:00:00 UTC\n2        blocked\n"
    for right in (
        printed,
        "version state\n1 passed, 2025-01-02 03:04:05 UTC\n2 blocked\n",
        "version state\n...\n2 blocked\n",
        "...\n2 blocked\n",
        "version state\n...\n",
    ):
        assert not not_printed(right, printed), right
    for wrong in (
        "version state\n1 passed, 2025-01-02 03:04:05 UTC\n",
        "2 blocked\n",
        "version state\n2 blocked\n",
        "version state\n...\n3 blocked\n",
        "...\n1 passed\n",
        "...\n2 blocked\n...\nversion state\n",
    ):
        assert not_printed(wrong, printed), wrong
    assert not not_printed("2 blocked\n", printed, part=True)


@pytest.mark.parametrize("entry", NOT_RUN, ids=lambda entry: f"{entry['page']}-{entry['begins']}")
def test_what_is_not_run_is_still_there_and_has_a_reason(entry: dict[str, str]) -> None:
    assert set(entry) == {"page", "begins", "reason"}
    assert len(entry["reason"]) > 15
    texts = [
        text
        for block in blocks_of(entry["page"])
        for text in (block.text, *(c.text for c in commands(block)))
    ]
    assert any(text.startswith(entry["begins"]) for text in texts)


def test_a_wrong_command_is_noticed(
    new_place: Callable[[str], Any],
    pipeline_names: Callable[[], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Reader("README.md", new_place, monkeypatch, pipeline_names)
    for text in (
        "tfx-registry versions nobody\n",
        "tfx-registry versions --nonsense\n",
        "rm -r x\n",
    ):
        with pytest.raises(AssertionError):
            reader.follow(Block("bash", text, 1))
    with pytest.raises(ZeroDivisionError):
        reader.follow(Block("python", "1 / 0\n", 1))
    with pytest.raises(click.UsageError):
        check_arguments(Command("tfx-registry promote penguin:1 --nonsense", 1))
