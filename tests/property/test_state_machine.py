"""The registry against a plain model: whatever is done in whatever order, both agree."""

from __future__ import annotations

import datetime
import shutil
import tempfile
from dataclasses import dataclass, field
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
    ApprovalsMissingError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    RegistryError,
    RejectedError,
)
from tfx_registry.records import Origin, Verdict, Version
from tfx_registry.registry import fold
from tfx_registry.registry.events import AliasRemoved, AliasSet, Decided, Promoted, Registered

MODELS = ("penguin", "auk")
ALIASES = ("production", "champion")
DESTINATIONS = ("/serving/a", "/serving/b")
PEOPLE = ("ada", "bob", "cleo")
LABELS = ("team", "stage")
ORIGIN = Origin(pipeline_name="test")
HOUR = datetime.timedelta(hours=1)

models = st.sampled_from(("penguin", "penguin", "penguin", "auk"))
aliases = st.sampled_from(ALIASES)
destinations = st.sampled_from(DESTINATIONS)
people = st.sampled_from(PEOPLE)
labels = st.sampled_from(LABELS)
numbers = st.integers(1, 4)
expectations = st.sampled_from([..., ..., ..., None, 1, 2])
approvals = st.sampled_from([0, 0, 1, 2])
words = st.sampled_from([None, ("", True), ("bob", True), ("bob", False)])  # "": the registrant


@dataclass
class PlainVersion:
    """What a registry should know of one version."""

    content: int
    registrant: str
    labels: dict[str, str] = field(default_factory=dict)
    words: dict[str, bool] = field(default_factory=dict)  # the last one of each person
    decision: tuple[bool, str, int] | None = None  # passed, alias, deployment it was against
    overrides: dict[str, datetime.datetime] = field(default_factory=dict)  # alias: its end
    archived: bool = False

    def overridden(self, alias: str, now: datetime.datetime) -> bool:
        return alias in self.overrides and now < self.overrides[alias]

    def state(self, serves: bool) -> str:
        if self.archived:
            return "archived"
        if serves:
            return "serving"
        if self.words:
            return "approved" if all(self.words.values()) else "rejected"
        if self.decision is None:
            return "registered"
        return "passed" if self.decision[0] else "blocked"


class PlainModel:
    """What a registry should know of one model, without events, digests or a store."""

    def __init__(self) -> None:
        self.versions: list[PlainVersion] = []  # 1, 2, ...
        self.keys: dict[str, int] = {}
        self.aliases: dict[str, int] = {}
        self.deployed: dict[str, tuple[str, int, int]] = {}  # alias, number, order
        self.count = 0  # of events

    def serving(self, alias: str) -> tuple[str, int, int] | None:
        under = [d for d in self.deployed.values() if d[0] == alias]
        return max(under, key=lambda d: d[2], default=None)

    def version(self, number: int) -> PlainVersion | None:
        return self.versions[number - 1] if number <= len(self.versions) else None

    def serves(self, number: int) -> list[str]:
        return sorted(place for place, d in self.deployed.items() if d[1] == number)

    def pointing_at(self, number: int) -> list[str]:
        return sorted(alias for alias, n in self.aliases.items() if n == number)

    def refusal(
        self, number: int, alias: str, required: int, now: datetime.datetime
    ) -> type[RegistryError] | None:
        """Why a version may not serve under an alias."""
        version, serving = self.version(number), self.serving(alias)
        if version is None:
            return NotFoundError
        if not version.overridden(alias, now):
            if version.decision is None or not version.decision[0] or version.decision[1] != alias:
                return RefusedError
            current = (serving[2] if serving else 0) == version.decision[2]
            if not current and not (serving and serving[1] == number):
                return RefusedError
        if version.archived:
            return RefusedError
        if not all(version.words.values()):
            return RejectedError
        if len(set(version.words) - {version.registrant}) < required:
            return ApprovalsMissingError
        return None


class RegistryMachine(RuleBasedStateMachine):
    """Does to both what the rules say."""

    backend = "memory"

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tfx-registry-test-"))
        for content in range(3):
            (self.folder / f"model{content}").write_text(f"model {content}", encoding="utf-8")
        self.uri = "memory://"
        if self.backend == "sqlite":
            self.uri = f"sqlite:///{self.folder}/registry.sqlite"
        self.now = datetime.datetime(2026, 11, 21, tzinfo=datetime.timezone.utc)
        self.registry = self.open()
        self.plain = {name: PlainModel() for name in MODELS}
        for content in range(3):
            self.register("penguin", content, None, "ada")

    def open(self) -> ModelRegistry:
        registry = ModelRegistry.open(self.uri)
        registry._clock = lambda: self.now
        return registry

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            self.registry.close()
            shutil.rmtree(self.folder)

    @rule(
        name=models, content=st.integers(0, 2), key=st.sampled_from([None, "k1", "k2"]), who=people
    )
    def register(self, name: str, content: int, key: str | None, who: str) -> None:
        """Also as a retry of the same execution, which has the same key."""
        plain = self.plain[name]
        known = plain.keys.get(key) if key else None

        def register() -> Version:
            return self.registry.register(
                name, self.folder / f"model{content}", idempotency_key=key, origin=ORIGIN, actor=who
            )

        if known is not None and plain.versions[known - 1].content != content:
            with pytest.raises(IntegrityError):
                register()
            return
        version = register()
        if known is None:
            earlier = [n for n, v in enumerate(plain.versions, 1) if v.content == content]
            assert version.same_bytes_as == max(earlier, default=None)
            plain.versions.append(PlainVersion(content, who))
            plain.count += 1
            known = len(plain.versions)
            if key:
                plain.keys[key] = known
        assert version.number == known

    @rule(name=models, alias=aliases, number=numbers, expect=expectations)
    def set_alias(self, name: str, alias: str, number: int, expect: Any) -> None:
        plain, now = self.plain[name], self.plain[name].aliases.get(alias)
        version, serving = plain.version(number), plain.serving(alias)
        refusal: type[RegistryError] | None = None
        if version is None:
            refusal = NotFoundError
        elif expect is not ... and expect != now:
            refusal = AliasConflictError
        elif (serving and serving[1] != number) or version.archived:
            refusal = RefusedError
        if refusal:
            with pytest.raises(refusal):
                self.registry.set_alias(name, alias, number, expect=expect)
            return
        plain.count += now != number
        plain.aliases[alias] = number
        assert alias in self.registry.set_alias(name, alias, number, expect=expect).aliases

    @precondition(lambda self: any(plain.aliases for plain in self.plain.values()))
    @rule(name=models, alias=aliases, expect=expectations)
    def remove_alias(self, name: str, alias: str, expect: Any) -> None:
        plain, now = self.plain[name], self.plain[name].aliases.get(alias)
        refusal: type[RegistryError] | None = None
        if now is None:
            refusal = NotFoundError
        elif expect is not ... and expect != now:
            refusal = AliasConflictError
        elif plain.serving(alias):
            refusal = RefusedError
        if refusal:
            with pytest.raises(refusal):
                self.registry.remove_alias(name, alias, expect=expect)
            return
        assert self.registry.remove_alias(name, alias, expect=expect) == now
        del plain.aliases[alias]
        plain.count += 1

    @rule(name=models, number=numbers, passes=st.sampled_from([True, True, False]), alias=aliases)
    def decide(self, name: str, number: int, passes: bool, alias: str) -> None:
        plain, version = self.plain[name], self.plain[name].version(number)
        if version is None:
            return
        serving = plain.serving(alias)
        decision = Decided(
            number,
            Verdict.PASSED if passes else Verdict.BLOCKED,
            self.registry.get(name, number).digest,
            alias,
            baseline=serving[1] if serving else None,
            serving_seq=serving[2] if serving else 0,
        )
        self.registry.record_decision(name, decision)
        plain.count += 1
        version.decision = (passes, alias, serving[2] if serving else 0)

    @precondition(lambda self: any(v.decision for p in self.plain.values() for v in p.versions))
    @rule(
        data=st.data(),
        destination=destinations,
        required=approvals,
        word=words,
    )
    def promote_what_was_decided(
        self, data: st.DataObject, destination: str, required: int, word: tuple[str, bool] | None
    ) -> None:
        decided = [
            (name, number, version.decision[1])
            for name, plain in self.plain.items()
            for number, version in enumerate(plain.versions, 1)
            if version.decision
        ]
        name, number, alias = data.draw(st.sampled_from(decided))
        if word is not None:  # by chance alone, what is decided on is seldom approved, too
            who = word[0] or self.plain[name].versions[number - 1].registrant
            self.say(name, number, who, word[1])
            required = max(required, word[1])
        self.promote(name, number, alias, destination, required)

    @rule(name=models, number=numbers, alias=aliases, destination=destinations, required=approvals)
    def promote(self, name: str, number: int, alias: str, destination: str, required: int) -> None:
        plain, there = self.plain[name], self.plain[name].deployed.get(destination)
        refusal = plain.refusal(number, alias, required, self.now)
        if refusal is None and there and there[0] != alias:  # a directory serves one alias
            refusal = RefusedError

        def promote() -> Version:
            return self.registry.record_promotion(
                name, number, destination, alias, required_approvals=required
            )

        if refusal:
            with pytest.raises(refusal):
                promote()
            return
        assert destination in promote().serving
        if there and there[:2] == (alias, number) and plain.aliases.get(alias) == number:
            return  # it served there already
        plain.count += 1
        plain.aliases[alias] = number
        plain.deployed[destination] = (alias, number, plain.count)

    @rule(name=models, number=numbers, alias=aliases, required=approvals)
    def intend(self, name: str, number: int, alias: str, required: int) -> None:
        plain = self.plain[name]
        refusal = plain.refusal(number, alias, required, self.now)
        if refusal:
            with pytest.raises(refusal):
                self.registry.record_intent(
                    name, number, "/serving/c", alias, required_approvals=required
                )
            return
        self.registry.record_intent(name, number, "/serving/c", alias, required_approvals=required)
        plain.count += 1

    @rule(name=models, number=numbers, who=people, yes=st.booleans())
    def say(self, name: str, number: int, who: str, yes: bool) -> None:
        """Approves or rejects."""
        say = self.registry.approve if yes else self.registry.reject
        version = self._if_usable(name, number, lambda: say(name, number, actor=who, reason="so"))
        if version is not None:
            version.words[who] = yes

    @rule(name=models, number=numbers, alias=aliases, hours=st.integers(1, 3))
    def override(self, name: str, number: int, alias: str, hours: int) -> None:
        version = self._if_usable(
            name,
            number,
            lambda: self.registry.override(
                name, number, reason="so", expires=hours * HOUR, alias=alias
            ),
        )
        if version is not None:
            version.overrides[alias] = self.now + hours * HOUR

    @precondition(lambda self: any(v.overrides for p in self.plain.values() for v in p.versions))
    @rule(data=st.data(), late=st.booleans(), other=st.booleans(), destination=destinations)
    def promote_what_was_overridden(
        self, data: st.DataObject, late: bool, other: bool, destination: str
    ) -> None:
        """Also at the moment when the override ends."""
        name, number, given, until = data.draw(
            st.sampled_from(
                [
                    (name, number, alias, until)
                    for name, plain in self.plain.items()
                    for number, version in enumerate(plain.versions, 1)
                    for alias, until in version.overrides.items()
                ]
            )
        )
        alias = data.draw(aliases) if other else given
        self.now = max(self.now, until) if late else self.now
        self.promote(name, number, alias, destination, 0)

    @rule()
    def wait_an_hour(self) -> None:
        self.now += HOUR

    @rule(name=models, number=numbers, key=labels, value=st.sampled_from(["a", "b"]))
    def set_label(self, name: str, number: int, key: str, value: str) -> None:
        version = self.plain[name].version(number)
        if version is None:
            with pytest.raises(NotFoundError):
                self.registry.set_label(name, number, key, value)
            return
        assert self.registry.set_label(name, number, key, value).labels[key] == value
        self.plain[name].count += version.labels.get(key) != value
        version.labels[key] = value

    @precondition(lambda self: any(v.labels for p in self.plain.values() for v in p.versions))
    @rule(name=models, number=numbers, key=labels)
    def remove_label(self, name: str, number: int, key: str) -> None:
        version = self.plain[name].version(number)
        if version is None or key not in version.labels:
            with pytest.raises(NotFoundError):
                self.registry.remove_label(name, number, key)
            return
        assert key not in self.registry.remove_label(name, number, key).labels
        del version.labels[key]
        self.plain[name].count += 1

    @rule(name=models, number=numbers)
    def archive(self, name: str, number: int) -> None:
        plain, version = self.plain[name], self.plain[name].version(number)
        refusal: type[RegistryError] | None = None
        if version is None:
            refusal = NotFoundError
        elif plain.serves(number) or plain.pointing_at(number):
            refusal = RefusedError
        if refusal or version is None:
            with pytest.raises(refusal or NotFoundError):
                self.registry.archive(name, number)
            return
        assert self.registry.archive(name, number).archived
        plain.count += not version.archived
        version.archived = True

    @precondition(lambda self: any(plain.aliases for plain in self.plain.values()))
    @rule(data=st.data())
    def archive_what_is_used(self, data: st.DataObject) -> None:
        used = [(name, n) for name, plain in self.plain.items() for n in plain.aliases.values()]
        self.archive(*data.draw(st.sampled_from(used)))

    @precondition(lambda self: self.uri != "memory://")
    @rule()
    def reopen(self) -> None:
        self.registry.close()
        self.registry = self.open()

    def _if_usable(self, name: str, number: int, act: Any) -> PlainVersion | None:
        """Does what archived and missing versions refuse."""
        version = self.plain[name].version(number)
        if version is None or version.archived:
            with pytest.raises(NotFoundError if version is None else RefusedError):
                act()
            return None
        act()
        self.plain[name].count += 1
        return version

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "registry"):
            return
        known = {name: plain for name, plain in self.plain.items() if plain.count}
        assert [head.model for head in self.registry.list_models()] == sorted(known)
        for name, plain in known.items():
            head = self.registry.head(name)
            assert (head.seq, head.latest) == (plain.count, len(plain.versions))
            assert head.aliases == plain.aliases
            deployed = {
                d.destination: (d.alias, d.number, d.seq) for d in head.deployments.values()
            }
            assert deployed == plain.deployed
            for version in self._check_log(name):
                self._check_version(plain, version)
        assert self.registry.fsck().findings == ()

    def _check_version(self, plain: PlainModel, version: Version) -> None:
        expected = plain.versions[version.number - 1]
        assert version.actor == expected.registrant
        assert version.labels == expected.labels
        words = sorted((word.actor, word.approved) for word in version.approvals)
        assert words == sorted(expected.words.items())
        assert version.archived == expected.archived
        assert list(version.aliases) == plain.pointing_at(version.number)
        assert list(version.serving) == plain.serves(version.number)
        assert version.state.value == expected.state(bool(version.serving))
        for alias in {*plain.aliases, *expected.overrides}:
            override = version.override_for(alias)
            holds = override is not None and override.holds_at(self.registry._now())
            assert holds == expected.overridden(alias, self.now)
        decided = version.decision and (
            version.decision.verdict is Verdict.PASSED,
            version.decision.alias,
            version.decision.serving_seq,
        )
        assert decided == expected.decision

    def _check_log(self, name: str) -> list[Version]:
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
        return versions


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "examples"), [("memory", 100), ("sqlite", 8)])
def test_registry_and_plain_model_agree(backend: str, examples: int) -> None:
    machine = type("Machine", (RegistryMachine,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            # Shrinking a failure takes minutes; run without this line to have it shrunk.
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
