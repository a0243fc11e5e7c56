"""What the commands share: settings, options, small parsers."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import EllipsisType, ModuleType
from typing import TYPE_CHECKING, Any, TextIO

import click

from tfx_registry.cli.hints import show_hint
from tfx_registry.cli.progress import copying, hashing
from tfx_registry.errors import InvalidInputError, InvalidUriError, NotFoundError
from tfx_registry.registry.reader import RegistryReader
from tfx_registry.registry.uri import RegistryUri, default_uri
from tfx_registry.text import closest, printable

if TYPE_CHECKING:
    from tfx_registry.registry import ModelRegistry

__all__ = [
    "Settings",
    "copying",
    "expected_version",
    "load_when_used",
    "pairs",
    "parse_number",
    "pass_settings",
]


@dataclass
class Settings:
    """What the options before the command say."""

    registry: str | None = None
    as_json: bool = False

    def open(self, *, create: bool = False) -> ModelRegistry:
        """Opens the registry; only commands that write make a missing database.

        Raises:
            InvalidUriError: The registry would be gone with this command.
            StoreUnavailableError: It cannot be opened.
        """
        from tfx_registry.registry import ModelRegistry

        self._check()
        return ModelRegistry.open(self.registry, create=create)

    def open_reader(self) -> RegistryReader:
        """Opens the registry to read versions from it: takes half as long to load.

        Raises:
            InvalidUriError: The registry would be gone with this command.
            StoreUnavailableError: It cannot be opened.
        """
        if self._check() != "grpc":
            # ML Metadata loads it in any case, and does not use it.
            load_when_used("grpc")
        return RegistryReader.open(self.registry, create=False)

    def closest_model(self, name: str) -> str:
        """Asks whether the model with the most similar name was meant; "" where there is none."""
        with self.open_reader() as reader:
            return closest(name, (head.model for head in reader.list_models()))

    def confirm(self, what: str, consequence: str, *, yes: bool) -> None:
        """Makes sure that something that is hard to undo is meant.

        A person at a terminal is asked. Nobody else can be: a program says `--yes`, or it is
        refused.

        Args:
            what: What is about to happen, such as "archive penguin:3".
            consequence: What is hard to undo about it, as a clause.
            yes: Whether the answer was given with the command.

        Raises:
            InvalidInputError: The answer is no, or nobody can be asked.
        """
        if yes:
            return
        if self.as_json or not all(_is_terminal(stream) for stream in (sys.stdin, sys.stderr)):
            raise InvalidInputError(
                f"will not {what} without --yes",
                f"{consequence}, and there is nobody to ask",
                "add --yes if it is meant",
            )
        if not click.confirm(printable(f"{_begun(what)}? {_begun(consequence)}."), err=True):
            raise InvalidInputError(f"did not {what}", "the answer was no", "nothing was changed")

    def _check(self) -> str:
        """Returns the scheme of the registry's URI."""
        uri = self.registry if self.registry is not None else default_uri()
        scheme = RegistryUri.parse(uri).scheme
        if scheme == "memory":
            raise InvalidUriError(
                f"cannot use the registry {uri!r} here",
                "it lives in memory and would be gone with this command",
                "name a database, for example sqlite:///metadata.sqlite",
            )
        return scheme


def _is_terminal(stream: TextIO | None) -> bool:
    """Tells whether a person is at the other end; Python has None where a stream was closed."""
    return stream is not None and stream.isatty()


def _begun(text: str) -> str:
    """Writes the first letter as that of a sentence."""
    return text[:1].upper() + text[1:]


def load_when_used(name: str) -> None:
    """Puts a stand-in in the place of a module, which loads it when something in it is asked for.

    `importlib.util.LazyLoader` does not do: a second `import` of the module would load it.

    Args:
        name: Name of a top-level module; nothing happens if it is loaded.
    """
    if name in sys.modules:
        return
    stand_in: Any = ModuleType(name)

    def load(attribute: str) -> Any:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    stand_in.__getattr__ = load
    sys.modules[name] = stand_in


def pass_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """Passes the settings; accepts `--json` after the command, too.

    What all commands have in common happens here: a bar while something large is hashed, the name
    of a model that was probably meant, and a hint on what to do next.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @click.pass_obj
    @functools.wraps(function)
    def wrapper(settings: Settings, as_json: bool, *args: Any, **kwargs: Any) -> Any:
        settings.as_json = settings.as_json or as_json
        try:
            with hashing():
                result = function(settings, *args, **kwargs)
        except NotFoundError as error:
            if error.model is not None and (meant := settings.closest_model(error.model)):
                raise NotFoundError(error.what, error.why, f"{meant} {error.todo}") from error
            raise
        if not settings.as_json:
            show_hint(click.get_current_context(), kwargs)
        return result

    return wrapper


def pairs(texts: Sequence[str], option: str) -> Iterator[tuple[str, str]]:
    """Splits `KEY=VALUE` texts; raises InvalidInputError where one is none."""
    for text in texts:
        key, found, value = text.partition("=")
        if not found or not key:
            raise InvalidInputError(
                f"invalid {option} {text!r}", "it is not KEY=VALUE", "write it so"
            )
        yield key, value


def parse_number(name: str, text: str) -> float:
    """Reads the number of a metric; raises InvalidInputError where it is none."""
    try:
        return float(text)
    except ValueError as error:
        raise InvalidInputError(
            f"invalid metric {name!r}", f"{text!r} is not a number", "write NAME=NUMBER"
        ) from error


def expected_version(text: str | None) -> int | EllipsisType | None:
    """Reads `--expect`: left out, "none", or a version number."""
    if text is None:
        return ...
    if text == "none":
        return None
    if not text.isdecimal():
        raise InvalidInputError(
            f"invalid --expect {text!r}", "it is neither a version number nor 'none'", ""
        )
    return int(text)
