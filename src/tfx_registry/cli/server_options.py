"""Options of the commands that ask model servers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from tfx_registry.errors import InvalidInputError

__all__ = ["server_options"]

Command = Callable[..., Any]


def server_options(*, on_failure: bool, no_wait: bool = True) -> Callable[[Command], Command]:
    """Adds the options that name model servers; the command gets them as `servers`, or None.

    Args:
        on_failure: Whether the command has a choice of what becomes of a version that they do
            not serve.
        no_wait: Whether the command can do without asking.
    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def wrapper(
            *args: Any,
            wait_for: tuple[str, ...],
            deadline: float | None,
            no_wait: bool = False,
            on_failure: str | None = None,
            **kwargs: Any,
        ) -> Any:
            from tfx_registry.operations import Servers

            if not wait_for and (deadline is not None or on_failure is not None):
                option = "--deadline" if deadline is not None else "--on-failure"
                raise InvalidInputError(
                    f"{option} has no meaning here", "no server is asked", "add --wait-for URL"
                )
            if wait_for and no_wait:
                raise InvalidInputError(
                    "--no-wait and --wait-for contradict each other", "", "give one of them"
                )
            servers = Servers(
                wait_for, 300.0 if deadline is None else deadline,
                no_wait=no_wait, keep_failed=on_failure == "keep",
            ) if wait_for or no_wait else None  # fmt: skip
            return function(*args, servers=servers, **kwargs)

        wrapped: Command = wrapper
        if on_failure:
            wrapped = click.option(
                "--on-failure",
                type=click.Choice(["rollback", "keep"]),
                help="What becomes of a version that servers do not serve.  [default: rollback]",
            )(wrapped)
        if no_wait:
            wrapped = click.option(
                "--no-wait",
                is_flag=True,
                help="Move a label without asking servers: they have loaded the version.",
            )(wrapped)
        wrapped = click.option(
            "--deadline",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="How long to wait for servers.  [default: 300]",
        )(wrapped)
        return click.option(
            "--wait-for",
            multiple=True,
            metavar="URL",
            help="REST URL of a model server, such as http://host:8501: wait until it has "
            "followed. May be repeated.",
        )(wrapped)

    return decorate
