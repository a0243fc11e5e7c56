"""A writer that does one of everything, again and again, and kills itself where it was told to.

`torture.py` starts it as a fork. It says what it begins and what was acknowledged, line by line:

    begin KIND KEY
    done KIND KEY NUMBER
"""

from __future__ import annotations

import datetime
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("GLOG_minloglevel", "3")  # before the C++ library reads it

from ml_metadata import metadata_store

from tfx_registry import ModelRegistry
from tfx_registry.records import Origin, Verdict
from tfx_registry.registry import session
from tfx_registry.registry.events import Decided
from tfx_registry.registry.mlmd_store import MlmdStore

MODEL = "penguin"
ORIGIN = Origin(pipeline_name="torture")

#: What a writer does, in this order, with each version that it has registered.
KINDS = (
    "register", "label", "label-removal", "approval", "rejection", "override", "decision",
    "intent", "promotion", "alias", "alias-removal", "archive",
)  # fmt: skip

#: Functions on the way of a mutation; a step is just before or after a call of one.
CALLS: tuple[tuple[type, str], ...] = (
    (MlmdStore, "read_heads"),
    (MlmdStore, "read_versions"),
    (MlmdStore, "append"),
    (metadata_store.MetadataStore, "put_execution"),
    # Only what has a key of its own looks for an earlier try.
    (MlmdStore, "find_operation"),
)
RANDOM = "at random"

#: A writer comes to each step in the first life or two.
_LIVES = 50


@dataclass(frozen=True)
class Step:
    """Where a writer is to be killed.

    Attributes:
        kind: The mutation, or "" for any.
        when: "before", "after" or "during" the function, or `RANDOM` for at any moment.
        function: Its name.
    """

    kind: str = ""
    when: str = RANDOM
    function: str = ""

    def __str__(self) -> str:
        """For people: `before append of a promotion`."""
        return f"{self.when} {self.function} of {self.kind}" if self.function else self.when


NAMED_STEPS = tuple(
    Step(kind, when, function)
    for kind in KINDS
    for _, function in CALLS
    for when in ("before", "after", "during")
    if (when != "during" or function == "put_execution")
    and (function != "find_operation" or kind == "register")
    and (function != "read_versions" or kind != "register")
)


class Writer:
    """Registers, says yes and no, promotes, moves aliases and archives, until it is killed."""

    def __init__(self, uri: str, path: Path, name: str, step: Step, out: int, seed: float) -> None:
        """Prepares everything but the connection.

        Args:
            uri: The registry.
            path: A model to register.
            name: The writer's name; nobody else has it.
            step: Where it is to be killed.
            out: File descriptor for what it says.
            seed: Of everything random.
        """
        self._uri = uri
        self._path = path
        self._name = name
        self._out = out
        self._kind = ""
        self._step = step
        self._rng = random.Random(seed)
        if step.function:
            self._die_at(step)

    def run(self, pending: Sequence[str]) -> None:
        """Writes until it is killed.

        Args:
            pending: Keys of registrations that earlier writers began, to be repeated first.
        """
        self._say("ready")
        # On a busy machine a killed server may need long to come back.
        session._DOWN_SECONDS = session._RACE_SECONDS = 100.0
        with ModelRegistry.open(self._uri) as registry:
            registry._retry_seconds = 100.0
            for key in itertools.chain(pending, (f"{self._name}-{i}" for i in range(_LIVES))):
                self._live(registry, key)
            while not self._step.function:  # somebody else kills it, at any moment
                time.sleep(1.0)
        raise AssertionError(f"the writer never came to {self._step}")

    def _live(self, registry: ModelRegistry, key: str) -> None:
        """Leads one version through its life."""
        number = self._register(registry, key)
        for kind, act in self._acts(registry, number):
            self._do(kind, key, lambda reason, act=act: act(reason), number)

    def _acts(
        self, registry: ModelRegistry, number: int
    ) -> Iterator[tuple[str, Callable[[str], object]]]:
        alias, serving = f"by-{self._name}", f"serves-{self._name}"
        place = f"/serving/{self._name}"
        day = datetime.timedelta(days=1)
        label = (MODEL, number, "by")
        yield "label", lambda why: registry.set_label(*label, self._name, reason=why)
        yield "label-removal", lambda why: registry.remove_label(*label, reason=why)
        yield "approval", lambda why: registry.approve(MODEL, number, reason=why, actor="eve")
        yield "rejection", lambda why: registry.reject(MODEL, number, reason=why)
        yield "approval", lambda why: registry.approve(MODEL, number, reason=f"{why} 2")
        yield "override", lambda why: registry.override(MODEL, number, reason=why, expires=day)
        now = registry.serving(MODEL, serving)
        digest = registry.get(MODEL, number).digest
        decided = Decided(
            number, Verdict.PASSED, digest, serving,
            baseline=now.number if now else None, serving_seq=now.seq if now else 0,
        )  # fmt: skip
        yield "decision", lambda why: registry.record_decision(MODEL, decided, reason=why)
        # An intent has no reason: its actor carries the key.
        yield "intent", lambda why: registry.record_intent(MODEL, number, place, serving, actor=why)
        yield (
            "promotion",
            lambda why: registry.record_promotion(MODEL, number, place, serving, reason=why),
        )
        yield "alias", lambda why: registry.set_alias(MODEL, alias, number, reason=why)
        yield "alias-removal", lambda why: registry.remove_alias(MODEL, alias, reason=why)
        spare = self._register(registry, f"{self._name}-spare-{number}")
        yield "archive", lambda why: registry.archive(MODEL, spare, reason=why)

    def _register(self, registry: ModelRegistry, key: str) -> int:
        self._kind = "register"
        self._say("begin register", key)
        made = registry.register(MODEL, self._path, idempotency_key=key, origin=ORIGIN)
        self._say("done register", key, made.number)
        self._kind = ""
        return made.number

    def _do(self, kind: str, key: str, act: Callable[[str], object], number: int) -> None:
        self._kind = kind
        self._say("begin", kind, key)
        act(f"{kind} {key}")
        self._say("done", kind, key, number)
        self._kind = ""

    def _say(self, *words: object) -> None:
        os.write(self._out, (" ".join(map(str, words)) + "\n").encode())

    def _die_at(self, step: Step) -> None:
        """Arranges that this process kills itself when it gets there, the first or second time."""
        owner = next(owner for owner, known in CALLS if known == step.function)
        original = getattr(owner, step.function)
        left = [self._rng.randint(1, 2)]

        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            if self._kind != step.kind:
                return original(*arguments, **keywords)
            left[0] -= 1
            if left[0] == 0 and step.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            if left[0] == 0 and step.when == "during":
                kill_soon(os.getpid(), self._rng.uniform(0.0, 0.003))
            try:
                return original(*arguments, **keywords)
            finally:  # it may have lost a race
                if left[0] == 0 and step.when != "before":
                    if step.when == "during":
                        time.sleep(60.0)  # the answer came first; it is not told to anybody
                    os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, step.function, wrapper)


def kill_soon(pid: int, seconds: float) -> None:
    """Kills a process from another one, so that no lock of the interpreter delays it."""
    if os.fork() == 0:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        os._exit(0)
