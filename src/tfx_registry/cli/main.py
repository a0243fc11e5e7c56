"""The command `tfx-registry`.

Exit codes: 0 done; 1 unexpected error; 2 bad usage or input; 3 not found; 4 refused by a rule;
5 conflict; 6 store unavailable. With `--json`, one JSON document on stdout and nothing else;
errors are one line on stderr.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from types import ModuleType

import click

from tfx_registry._version import __version__
from tfx_registry.cli import (
    audit,
    changing,
    finding,
    gating,
    lifecycle,
    operating,
    reading,
    render,
    serving,
)
from tfx_registry.cli.common import Settings
from tfx_registry.errors import RegistryError

__all__ = ["SECTIONS", "cli", "command_name", "main"]


#: The commands, by the section of the help that they stand in.
SECTIONS: tuple[tuple[str, ModuleType], ...] = (
    ("Look", reading),
    ("Find", finding),
    ("Change", changing),
    ("Gate", gating),
    ("Decide", lifecycle),
    ("Serve", serving),
    ("Operate", operating),
    ("Audit", audit),
)


class SectionedGroup(click.Group):
    """A group whose help lists its commands by section."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections in the order of `SECTIONS`."""
        for title, module in SECTIONS:
            rows = [
                (name, command.get_short_help_str(limit=70))
                for name in map(command_name, module.__all__)
                if (command := self.get_command(ctx, name)) is not None
            ]
            with formatter.section(title):
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
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s"
    )
    context.obj = Settings(registry, as_json)


for _, _module in SECTIONS:
    for _name in _module.__all__:
        cli.add_command(getattr(_module, _name), command_name(_name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The arguments; None means those of the process.

    Returns:
        The exit code.
    """
    try:
        cli.main(args=arguments, prog_name="tfx-registry", standalone_mode=False)
    except RegistryError as error:
        return _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        return 2
    except click.ClickException as error:
        return _fail(f"{error.format_message()} See 'tfx-registry --help'.", 2)
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


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {render.printable(' '.join(message.split()))}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
