"""The command `tfx-registry`.

Exit codes: 0 done; 1 unexpected error; 2 bad usage or input; 3 not found; 4 refused by a rule;
5 conflict; 6 store unavailable. With `--json`, one JSON document on stdout and nothing else;
errors are one line on stderr.
"""

from __future__ import annotations

import importlib
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from tfx_registry._version import __version__
from tfx_registry.cli.common import Settings
from tfx_registry.cli.encoding import write_what_can_be_written
from tfx_registry.errors import RegistryError
from tfx_registry.text import closest, printable

__all__ = ["SECTIONS", "Section", "cli", "command_name", "main"]


@dataclass(frozen=True)
class Section:
    """Some commands that stand together in the help.

    Attributes:
        title: What the help calls them.
        module: The module below `tfx_registry.cli` that defines them; loaded when one is used.
        names: Their names in Python, the module's `__all__`.
    """

    title: str
    module: str
    names: tuple[str, ...]


SECTIONS = (
    Section("Begin", "starting", ("init",)),
    Section("Look", "reading", ("history", "models", "show", "versions")),
    Section("Find", "finding", ("compare", "lineage", "search")),
    Section("Pages", "pages", ("report", "ui")),
    Section("Change", "changing", ("alias", "register")),
    Section("Convert", "exporting", ("export_keras",)),
    Section("Gate", "gating", ("explain", "gate")),
    Section("Decide", "lifecycle", ("approve", "archive", "label", "override", "policy", "reject")),
    Section("Serve", "serving", ("abort", "promote")),
    Section(
        "Operate", "operating", ("adopt", "prune", "reconcile", "rollback", "status", "verify")
    ),
    Section("Audit", "audit", ("export", "fsck", "import_", "served", "verify_log")),
)


class SectionedGroup(click.Group):
    """A group of the commands in `SECTIONS`, which loads only what is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the words for the commands, in the order of `SECTIONS`."""
        return [command_name(name) for section in SECTIONS for name in section.names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads a command."""
        for section in SECTIONS:
            for name in section.names:
                if command_name(name) == cmd_name:
                    module = importlib.import_module(f"tfx_registry.cli.{section.module}")
                    command: click.Command = getattr(module, name)
                    return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections in the order of `SECTIONS`."""
        for section in SECTIONS:
            rows = [
                (name, command.get_short_help_str(limit=100))
                for name in map(command_name, section.names)
                if (command := self.get_command(ctx, name)) is not None
            ]
            with formatter.section(section.title):
                formatter.write_dl(rows)


def command_name(name: str) -> str:
    """Returns the word on the command line for a command's name in Python."""
    return name.rstrip("_").replace("_", "-")


@click.group(
    cls=SectionedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--registry",
    metavar="URI",
    help="The registry, such as sqlite:///metadata.sqlite.  [default: $TFX_REGISTRY_URI]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens to stderr.")
@click.version_option(__version__, prog_name="tfx-registry")
@click.pass_context
def cli(context: click.Context, registry: str | None, as_json: bool, verbose: bool) -> None:
    """Model versions of TFX pipelines: which one serves, why, and what it came from.

    A version is named by a reference: penguin:3, penguin@production, or penguin for the latest.

    Example: tfx-registry show penguin@production
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s"
    )
    context.obj = Settings(registry, as_json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The arguments; None means those of the process.

    Returns:
        The exit code.
    """
    write_what_can_be_written()
    try:
        cli.main(args=arguments, prog_name="tfx-registry", standalone_mode=False)
    except RegistryError as error:
        return _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        return 2
    except click.ClickException as error:
        asked = getattr(error, "ctx", None)
        help_text = f"See '{asked.command_path if asked else 'tfx-registry'} --help'."
        return _fail(f"{error.format_message()}{_meant(error)} {help_text}", 2)
    except click.exceptions.Abort:
        return _fail("interrupted; what was recorded stays, repeat to finish", 1)
    except SystemExit:
        # click ends so when the reader of the pipe has gone, which is its business, and after
        # completing a word.
        return 0
    except Exception as error:
        logging.getLogger(__name__).info("traceback", exc_info=True)
        return _fail(f"unexpected {type(error).__name__}: {error}; use -v for the traceback", 1)
    return 0


def _meant(error: click.ClickException) -> str:
    """Names the command that was probably meant by one that does not exist."""
    match = re.match(r"No such command '(.*)'\.$", error.format_message())
    context = error.ctx if isinstance(error, click.UsageError) else None
    if match is None or context is None or not isinstance(context.command, click.Group):
        return ""
    found = closest(match[1], context.command.list_commands(context))
    return f" {found[:1].upper()}{found[1:]}" if found else ""


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {printable(' '.join(message.split()))}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
