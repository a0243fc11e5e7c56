"""Whatever is done in whatever order, registry and directory stay one story."""

from __future__ import annotations

import datetime
import shutil
import tempfile
from pathlib import Path

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

from tfx_registry import ModelRegistry, Retention, promote, prune, reconcile, rollback
from tfx_registry.digest import digest_path
from tfx_registry.errors import ConflictError, IntegrityError, RefusedError
from tfx_registry.registry import fold
from tfx_registry.serving import list_version_directories
from tfx_registry.testing.minimal_model import write_minimal_model

MODEL = "penguin"
numbers = st.integers(1, 6)


class DirectoryMachine(RuleBasedStateMachine):
    """Keeps beside it what should serve, and what a rollback may go back to."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tfx-registry-test-"))
        self.base = self.folder / "serving"
        self.registry = ModelRegistry.open("memory://")
        self.trail: list[int] = []  # what serves is the last
        self.withdrawn: set[int] = set()
        self.disturbed = False  # by hand, until somebody has looked after it
        self.promote()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.registry.close()
            shutil.rmtree(self.folder)

    @rule()
    def promote(self) -> None:
        number = self.registry.latest_number(MODEL) + 1
        path = write_minimal_model(self.folder / "models" / str(number), f"model {number}")
        self.registry.register(MODEL, path)
        self.allow(number)
        if any(found > number for found in list_version_directories(self.base)):
            with pytest.raises(RefusedError, match="newer version"):
                promote(self.registry, MODEL, number, self.base)
            return
        promote(self.registry, MODEL, number, self.base)
        self.trail.append(number)

    @rule(number=numbers, allowed=st.booleans())
    def promote_again(self, number: int, allowed: bool) -> None:
        """A version that was rolled back serves again after a new override, never without."""
        visible = list_version_directories(self.base)
        if number not in self.withdrawn or max(visible, default=0) > number:
            return
        if not allowed:
            with pytest.raises(RefusedError, match="rolled back"):
                promote(self.registry, MODEL, number, self.base)
            return
        self.allow(number)
        promote(self.registry, MODEL, number, self.base)
        self.trail.append(number)
        self.withdrawn.discard(number)

    @rule(to=st.one_of(st.none(), numbers))
    def roll_back(self, to: int | None) -> None:
        before = self.trail[:-1]
        target = to if to is not None else (before[-1] if before else None)
        if target is None or (target != self.trail[-1] and target not in before):
            if to is not None and to > self.registry.latest_number(MODEL):
                return
            with pytest.raises(RefusedError):
                rollback(self.registry, MODEL, self.base, to, reason="x")
            return
        if to is None and max(list_version_directories(self.base), default=0) > self.trail[-1]:
            with pytest.raises(ConflictError, match="cannot tell which version"):
                rollback(self.registry, MODEL, self.base, reason="x")
            return
        try:
            rollback(self.registry, MODEL, self.base, to, reason="x")
        except IntegrityError:
            assert self.disturbed
            return
        place = self.trail.index(target)
        self.withdrawn |= set(self.trail[place + 1 :])
        del self.trail[place + 1 :]

    @rule(keep_last=st.integers(1, 3))
    def prune(self, keep_last: int) -> None:
        before = set(list_version_directories(self.base))
        done = prune(self.registry, MODEL, self.base, Retention(keep_last), dry_run=False)
        gone = {removal.number for removal in done.removed}
        assert not gone & {self.trail[-1], *self.trail[-2:-1]}
        assert set(list_version_directories(self.base)) == before - gone

    @rule()
    def reconcile(self) -> None:
        done = reconcile(self.registry, self.base, quarantine=True)
        again = reconcile(self.registry, self.base, quarantine=True)
        assert (again.actions, again.problems) == ((), done.problems)
        assert done.problems == ()
        self.disturbed = False

    @precondition(lambda self: not self.disturbed)
    @rule(number=numbers, stranger=st.booleans())
    def disturb(self, number: int, stranger: bool) -> None:
        """Somebody deletes a version by hand, or copies one there under a number of its own."""
        path = self.base / str(number)
        if stranger:
            write_minimal_model(self.base / "900", "from elsewhere")
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            return
        self.disturbed = True

    def allow(self, number: int) -> None:
        day = datetime.timedelta(days=1)
        self.registry.override(MODEL, number, reason="test", expires=day)

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "folder"):
            return
        head = self.registry.head(MODEL)
        now = head.deployments[str(self.base)]
        assert (now.number, head.aliases) == (self.trail[-1], {"production": self.trail[-1]})
        assert list(now.trail) == list(dict.fromkeys(reversed(self.trail[:-1])))
        assert head.unfinished == {}
        assert fold.replay(self.registry.history(MODEL)).head == head
        assert self.registry.fsck().findings == ()
        visible = list_version_directories(self.base)
        versions = self.registry.known_versions(MODEL, visible)
        for number, version in versions.items():
            assert digest_path(self.base / str(number)).root == version.digest
            assert str(self.base) not in version.removed_from or self.disturbed
        if not self.disturbed:
            assert max(visible) == now.number


@pytest.mark.slow
def test_registry_and_directory_agree() -> None:
    run_state_machine_as_test(
        DirectoryMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            # Shrinking a failure takes minutes; run without this line to have it shrunk.
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
