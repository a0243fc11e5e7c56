"""What one may want to do next, said on a terminal after a command has succeeded."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from tfx_registry.text import printable

__all__ = ["show_hint"]

#: By command; its arguments may be named in braces.
_HINTS = {
    "adopt": "tfx-registry status --serving-dir {serving_dir}",
    "approve": "tfx-registry promote {ref} --serving-dir DIR",
    "archive": "tfx-registry show {ref}",
    "export": "tfx-registry --registry URI import {out}",
    "import": "tfx-registry fsck",
    "override": "tfx-registry promote {ref} --serving-dir DIR",
    "policy set": "tfx-registry policy check ACTOR ACTION MODEL",
    "promote": "tfx-registry status --serving-dir {serving_dir}",
    "register": "let VersionGate decide on it, or 'tfx-registry gate {model} --help'",
    "reject": "tfx-registry explain {ref}",
    "rollback": "tfx-registry status --serving-dir {serving_dir}; it comes back by a new "
    "decision, or by 'tfx-registry override'",
}


def show_hint(context: click.Context, arguments: Mapping[str, Any]) -> None:
    """Says what to do next, where a person looks on.

    Args:
        context: Of the command that has succeeded.
        arguments: What it was called with.
    """
    command = context.command_path.partition(" ")[2]
    hint = _HINTS.get(command)
    if hint is None or not (sys.stdout.isatty() and sys.stderr.isatty()):
        return
    text = hint.format_map({key: str(value) for key, value in arguments.items()})
    click.echo(f"next: {printable(text)}", err=True)
