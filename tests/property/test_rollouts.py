"""Promotions by a model config in any order, with deaths in between, from a server's point of view.

Whatever is done and wherever it is interrupted: the server never gets a file that it has to refuse,
its labels are what the log says, and what the log says is a fold of its events.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tfx_registry import ModelRegistry
from tfx_registry.errors import RegistryError
from tfx_registry.operations import (
    Servers,
    abort,
    promote_by_config,
    promote_canary,
    reconcile,
    rollback,
)
from tfx_registry.registry import fold
from tfx_registry.serving.model_config import SpecificVersions
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server import ModelServerEmulator

MODEL = "penguin"
NUMBERS = st.integers(1, 4)
KNOWN = Servers(no_wait=True)


class Died(BaseException):
    """The process ends here."""


class Rollouts(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        self.base, self.config = root / "serving", root / "models.config"
        self.registry = ModelRegistry.open("memory://")
        for number in range(1, 5):
            self.registry.register(
                MODEL, write_minimal_model(root / "models" / str(number), str(number))
            )
            self._allow(number)
        promote_by_config(self.registry, MODEL, 1, self.base, self.config, servers=KNOWN)
        self.server = ModelServerEmulator(
            model_config_file=self.config, model_config_file_poll_wait_seconds=1,
            max_num_load_retries=0, load_retry_interval_seconds=0.0,
            allow_version_labels_for_unavailable_models=True,
        )  # fmt: skip
        self.server.poll_once()
        self.settled = True

    def teardown(self) -> None:
        if hasattr(self, "server"):
            self.server.close()
            self.registry.close()
            self.folder.cleanup()

    def _allow(self, number: int) -> None:
        self.registry.override(MODEL, number, reason="test", expires=datetime.timedelta(1))

    def _attempt(self, command: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Lists, lets the server load, and goes on: what an operator without --wait-for does."""
        for servers in (Servers(), KNOWN):
            try:
                command(self.registry, MODEL, *arguments, servers=servers, **options)
                self.settled = True
                return
            except RegistryError:  # noqa: PERF203 - the second try is the point
                self.server.poll_once()

    @rule(number=NUMBERS, canary=st.booleans())
    def promote(self, number: int, canary: bool) -> None:
        self._attempt(promote_by_config, number, self.base, self.config, canary=canary)

    @rule()
    def stable(self) -> None:
        self._attempt(promote_canary, self.base)

    @rule()
    def abort(self) -> None:
        self._attempt(abort, self.base)

    @rule(to=st.one_of(st.none(), NUMBERS))
    def roll_back(self, to: int | None) -> None:
        self._attempt(rollback, self.base, to, reason="test")

    @rule(number=NUMBERS)
    def allow_again(self, number: int) -> None:
        self._allow(number)

    @rule(calls=st.integers(0, 5), number=NUMBERS, canary=st.booleans(), back=st.booleans())
    def die(self, calls: int, number: int, canary: bool, back: bool) -> None:
        """Dies before the so-manieth write, to the log or to the file."""
        left = iter(range(calls))

        def dying(original: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                if next(left, None) is None:
                    raise Died
                return original(*args, **kwargs)

            return wrapper

        append, replace = type(self.registry)._commit, ModelConfigFile._swap
        with (
            mock.patch.object(type(self.registry), "_commit", dying(append)),
            mock.patch.object(ModelConfigFile, "_swap", dying(replace)),
        ):
            try:
                if back:
                    self._attempt(rollback, self.base, reason="test")
                else:
                    self._attempt(promote_by_config, number, self.base, self.config, canary=canary)
            except Died:
                self.settled = False

    @rule()
    def settle(self) -> None:
        assert reconcile(self.registry, self.base).problems == ()
        assert reconcile(self.registry, self.base).actions == ()
        self.settled = True

    @rule(keep=st.sampled_from([0.0, 0.5]))
    def lose(self, keep: float) -> None:
        """Somebody damages the file; the server keeps what it has until it is written again."""
        text = self.config.read_text()
        self.config.write_text(text[: int(len(text) * keep)] if keep else "")
        if keep:
            self.server.poll_once()
            self.server.errors.clear()
            self.config.unlink()
        self.settle()

    @rule()
    def poll(self) -> None:
        self.server.poll_once()

    @invariant()
    def the_server_follows_the_log(self) -> None:
        if not hasattr(self, "server"):
            return
        head = self.registry.head(MODEL)
        assert fold.replay(self.registry.history(MODEL)).head == head
        place = str(self.base)
        recorded = {"stable": head.deployments[place].number}
        aliases = {"production": head.deployments[place].number}
        if place in head.canaries:
            recorded["canary"] = aliases["canary"] = head.canaries[place].number
            assert recorded["canary"] != recorded["stable"]
        assert head.aliases == aliases
        (entry,) = ModelConfigFile.peek(self.config)
        assert isinstance(entry.policy, SpecificVersions)
        assert all((self.base / str(number)).is_dir() for number in entry.policy.numbers)
        if self.settled:
            assert entry.labels == recorded
        self.server.poll_once()
        assert self.server.errors == []
        assert self.server.labels(MODEL) == entry.labels
        for label, number in entry.labels.items():
            assert self.server.resolve(MODEL, label=label)[0] == number


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=15, stateful_step_count=20)
