"""The registry against a plain dict: whatever is done in whatever order, both agree."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tfx_registry import ModelRegistry
from tfx_registry.errors import (
    AliasConflictError,
    IntegrityError,
    NotFoundError,
    RefusedError,
)
from tfx_registry.records import Origin, Verdict
from tfx_registry.registry import fold
from tfx_registry.registry.events import AliasRemoved, AliasSet, Decided, Promoted, Registered

MODELS = ("penguin", "auk")
ALIASES = ("production", "champion")
DESTINATIONS = ("/serving/a", "/serving/b")
ORIGIN = Origin(pipeline_name="test")

models = st.sampled_from(("penguin", "penguin", "penguin", "auk"))
aliases = st.sampled_from(ALIASES)
numbers = st.integers(1, 4)
expectations = st.sampled_from([..., ..., ..., None, 1, 2])


class PlainModel:
    """What a registry should know of one model, without events, digests or a store."""

    def __init__(self) -> None:
        self.bytes: list[int] = []  # of version 1, 2, ...
        self.keys: dict[str, int] = {}
        self.aliases: dict[str, int] = {}
        self.passed: dict[int, tuple[str, int]] = {}  # alias and deployment that it was against
        self.deployed: dict[str, tuple[str, int, int]] = {}  # alias, number, order
        self.count = 0  # of events

    def serving(self, alias: str) -> tuple[str, int, int] | None:
        under = [d for d in self.deployed.values() if d[0] == alias]
        return max(under, key=lambda d: d[2], default=None)


class RegistryMachine(RuleBasedStateMachine):
    """Does to both what the rules say."""

    backend = "memory"

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tfx-registry-test-"))
        for content in range(3):
            (self.folder / f"model{content}").write_text(f"model {content}", encoding="utf-8")
        self.uri = "memory://"
        if self.backend == "sqlite":
            self.uri = f"sqlite:///{self.folder}/registry.sqlite"
        self.registry = ModelRegistry.open(self.uri)
        self.plain = {name: PlainModel() for name in MODELS}
        for content in range(3):
            self.register("penguin", content, None)

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            self.registry.close()
            shutil.rmtree(self.folder)

    @rule(name=models, content=st.integers(0, 2), key=st.sampled_from([None, "k1", "k2"]))
    def register(self, name: str, content: int, key: str | None) -> None:
        plain = self.plain[name]
        path = self.folder / f"model{content}"
        known = plain.keys.get(key) if key else None
        if known is not None and plain.bytes[known - 1] != content:
            with pytest.raises(IntegrityError):
                self.registry.register(name, path, idempotency_key=key, origin=ORIGIN)
            return
        version = self.registry.register(name, path, idempotency_key=key, origin=ORIGIN)
        if known is None:
            earlier = [n for n, c in enumerate(plain.bytes, 1) if c == content]
            assert version.same_bytes_as == max(earlier, default=None)
            plain.bytes.append(content)
            plain.count += 1
            known = len(plain.bytes)
            if key:
                plain.keys[key] = known
        assert version.number == known

    @rule(name=models, alias=aliases, number=numbers, expect=expectations)
    def set_alias(self, name: str, alias: str, number: int, expect: Any) -> None:
        plain, now = self.plain[name], self.plain[name].aliases.get(alias)
        if number > len(plain.bytes):
            with pytest.raises(NotFoundError):
                self.registry.set_alias(name, alias, number, expect=expect)
        elif expect is not ... and expect != now:
            with pytest.raises(AliasConflictError):
                self.registry.set_alias(name, alias, number, expect=expect)
        elif (serving := plain.serving(alias)) and serving[1] != number:
            with pytest.raises(RefusedError):
                self.registry.set_alias(name, alias, number, expect=expect)
        else:
            plain.count += now != number
            plain.aliases[alias] = number
            assert alias in self.registry.set_alias(name, alias, number, expect=expect).aliases

    @precondition(lambda self: any(plain.aliases for plain in self.plain.values()))
    @rule(name=models, alias=aliases, expect=expectations)
    def remove_alias(self, name: str, alias: str, expect: Any) -> None:
        plain, now = self.plain[name], self.plain[name].aliases.get(alias)
        if now is None:
            with pytest.raises(NotFoundError):
                self.registry.remove_alias(name, alias, expect=expect)
        elif expect is not ... and expect != now:
            with pytest.raises(AliasConflictError):
                self.registry.remove_alias(name, alias, expect=expect)
        elif plain.serving(alias):
            with pytest.raises(RefusedError):
                self.registry.remove_alias(name, alias, expect=expect)
        else:
            assert self.registry.remove_alias(name, alias, expect=expect) == now
            del plain.aliases[alias]
            plain.count += 1

    @rule(name=models, number=numbers, passes=st.sampled_from([True, True, False]), alias=aliases)
    def decide(self, name: str, number: int, passes: bool, alias: str) -> None:
        plain = self.plain[name]
        if number > len(plain.bytes):
            return
        serving = plain.serving(alias)
        verdict = Verdict.PASSED if passes else Verdict.BLOCKED
        digest = self.registry.get(name, number).digest
        decision = Decided(
            number,
            verdict,
            digest,
            alias,
            baseline=serving[1] if serving else None,
            serving_seq=serving[2] if serving else 0,
        )
        self.registry.record_decision(name, decision)
        plain.count += 1
        plain.passed.pop(number, None)
        if passes:
            plain.passed[number] = (alias, serving[2] if serving else 0)

    @precondition(lambda self: any(plain.passed for plain in self.plain.values()))
    @rule(data=st.data(), destination=st.sampled_from(DESTINATIONS))
    def promote(self, data: st.DataObject, destination: str) -> None:
        name = data.draw(st.sampled_from([m for m in MODELS if self.plain[m].passed]))
        plain = self.plain[name]
        number = data.draw(st.sampled_from(sorted(plain.passed)))
        alias, against = plain.passed[number]
        serving, there = plain.serving(alias), plain.deployed.get(destination)
        outdated = (serving[2] if serving else 0) != against and not (
            serving and serving[1] == number
        )
        if outdated or (there and there[0] != alias):  # a directory serves one alias
            with pytest.raises(RefusedError):
                self.registry.record_promotion(name, number, destination, alias)
            return
        version = self.registry.record_promotion(name, number, destination, alias)
        assert destination in version.serving
        if there and there[:2] == (alias, number) and plain.aliases.get(alias) == number:
            return  # it served there already
        plain.count += 1
        plain.aliases[alias] = number
        plain.deployed[destination] = (alias, number, plain.count)

    @rule(name=models, number=numbers)
    def promote_what_did_not_pass(self, name: str, number: int) -> None:
        if number not in self.plain[name].passed:
            with pytest.raises((NotFoundError, RefusedError)):
                self.registry.record_promotion(name, number, "/serving/a", "production")

    @precondition(lambda self: self.uri != "memory://")
    @rule()
    def reopen(self) -> None:
        self.registry.close()
        self.registry = ModelRegistry.open(self.uri, create=False)

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "registry"):
            return
        known = {name: plain for name, plain in self.plain.items() if plain.count}
        assert [head.model for head in self.registry.list_models()] == sorted(known)
        for name, plain in known.items():
            head = self.registry.head(name)
            assert (head.seq, head.latest) == (plain.count, len(plain.bytes))
            assert head.aliases == plain.aliases
            deployed = {
                d.destination: (d.alias, d.number, d.seq) for d in head.deployments.values()
            }
            assert deployed == plain.deployed
            self._check_log(name)
        assert self.registry.fsck().findings == ()

    def _check_log(self, name: str) -> None:
        events = self.registry.history(name)
        state = fold.replay(events)
        assert state.head == self.registry.head(name)
        versions = self.registry.list_versions(name, newest_first=False)
        assert list(state.versions.values()) == versions
        assert [v.number for v in versions] == list(range(1, len(versions) + 1))
        pointed: dict[str, int] = {}
        registered = 0
        for payload in (event.payload for event in events):
            if isinstance(payload, Registered):
                registered += 1
                assert payload.number == registered
            if isinstance(payload, AliasSet | AliasRemoved):
                assert pointed.get(payload.alias) == payload.previous
            if isinstance(payload, AliasSet | Promoted):
                pointed[payload.alias] = payload.number
            if isinstance(payload, AliasRemoved):
                del pointed[payload.alias]


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "examples"), [("memory", 50), ("sqlite", 12)])
def test_registry_and_plain_model_agree(backend: str, examples: int) -> None:
    machine = type("Machine", (RegistryMachine,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            # Shrinking a failure takes minutes; run without this line to have it shrunk.
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
