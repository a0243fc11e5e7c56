#!/usr/bin/env python3
"""Writes docs/cli.md from the help of the commands, so that it cannot drift.

    .venv/bin/python tools/write_cli_docs.py [--check]

With --check it writes nothing and fails when the file is not what it would write.
"""

import sys
from pathlib import Path

import click

from tfx_registry.cli.main import SECTIONS, cli, command_name

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

INTRODUCTION = """\
# The command line

This page is written by `tools/write_cli_docs.py` from the help of the commands.

```
{help}
```

A version is named by a reference: `penguin:3` (number), `penguin@production` (alias), or `penguin`
(the latest). `--json` may stand before or after the command.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | unexpected error |
| 2 | bad usage or input |
| 3 | not found |
| 4 | refused by a rule: gate, approval, access, state, integrity |
| 5 | conflict: somebody else was faster |
| 6 | the store is not available |

Errors are one line on the standard error: what, why, and what to do next. With `--json` the
standard output holds one JSON document and nothing else.

On a terminal tables, facts and sentences are as wide as it is, and what is longer goes on in the
next line; commands to copy stay whole. In a pipe no line is broken and nothing is coloured.
`NO_COLOR=1` leaves colours out on a terminal, too.

What is hard to undo is asked about. Programs cannot be asked: without a terminal, or with `--json`,
such a command ends with exit code 2 and does nothing, unless it was given `--yes`.

| command | what is hard to undo | without `--yes` |
|---|---|---|
| `archive` | the version can never serve again | asks, or exit code 2 |
| `reconcile --quarantine` | servers unload what is moved away | asks, or exit code 2 |
| `prune` | directories of old versions are deleted | says what would go, deletes nothing |

`rollback` never asks: it is for emergencies, needs a `--reason`, deletes nothing, and is undone by
promoting again. Nor does anything else: all other commands only add to the record.

Completion of commands, options and names of models in bash (zsh and fish likewise, with
`zsh_source` and `fish_source`):

```bash
eval "$(_TFX_REGISTRY_COMPLETE=bash_source tfx-registry)"
```
"""


def describe(command: click.Command, words: list[str]) -> list[str]:
    """Returns the help of a command, and of those below it, as Markdown.

    Args:
        command: The command or group.
        words: The words that call it.

    Returns:
        Paragraphs.
    """
    if isinstance(command, click.Group):
        below = [describe(command.commands[name], [*words, name]) for name in command.commands]
        return [paragraph for paragraphs in below for paragraph in paragraphs]
    return [f"### {' '.join(words[1:])}", f"```\n{help_of(command, words)}\n```"]


def help_of(command: click.Command, words: list[str]) -> str:
    """Returns what `--help` prints, at 88 columns."""
    parent = None
    for word in words[:-1]:
        parent = click.Context(click.Command(word), info_name=word, parent=parent)
    context = click.Context(
        command,
        info_name=words[-1],
        parent=parent,
        terminal_width=88,
        max_content_width=88,
        help_option_names=["-h", "--help"],
    )
    lines = [line.rstrip() for line in command.get_help(context).splitlines()]
    return "\n".join(lines)


def page() -> str:
    """Returns the whole page."""
    parts = [INTRODUCTION.format(help=help_of(cli, ["tfx-registry"]))]
    context = click.Context(cli)
    for section in SECTIONS:
        parts.append(f"## {section.title}")
        for name in map(command_name, section.names):
            command = cli.get_command(context, name)
            assert command is not None
            parts += describe(command, ["tfx-registry", name])
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main() -> int:
    """Writes or checks the page; returns the exit code."""
    text = page()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TARGET.name} is not what the commands say: run tools/write_cli_docs.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
