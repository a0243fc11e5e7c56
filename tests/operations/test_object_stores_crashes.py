"""Promotions, rollbacks and removals in object stores that die at each of their requests."""

from __future__ import annotations

import pytest

from tfx_registry import ModelRegistry, Retention, promote, prune, reconcile, rollback
from tfx_registry.operations.unsettled import unsettled
from tfx_registry.serving.objects.models import upload_tree
from tfx_registry.testing.memory_bucket import DeadError
from tfx_registry.testing.store_world import MODEL, MemoryStore, StoreWorld, die_at_each_request


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_promotion_may_die_at_any_request(quick: StoreWorld, memory: MemoryStore) -> None:
    def prepare() -> None:
        quick.promote()
        quick.register()
        quick.decide(2)

    ends = set()
    act = lambda: promote(quick.registry, MODEL, 2, quick.url)  # noqa: E731
    for step in die_at_each_request(quick, memory, prepare, act):
        assert quick.look()[1] == "whole", step
        assert quick.serves() == 1
        if step % 2:
            done = reconcile(quick.registry, quick.url)
            assert done.problems == (), step
            assert reconcile(quick.registry, quick.url).actions == ()
        else:
            assert act().version.number == 2
        quick.in_order()
        ends.add(quick.serves())
    assert ends == {1, 2}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_rollback_may_die_at_any_request(quick: StoreWorld, memory: MemoryStore) -> None:
    def prepare() -> None:
        quick.promote()
        quick.promote()
        quick.promote()
        # The version that it goes back to has to come back first.
        rollback(quick.registry, MODEL, quick.url, 1, reason="to hide the others")
        quick.promote(2)
        quick.promote(3)
        rollback(quick.registry, MODEL, quick.url, 2, reason="to hide 3")
        quick.promote(3)
        for key in memory.below("2"):
            del memory.bucket.contents[key]

    act = lambda: rollback(quick.registry, MODEL, quick.url, 2, reason="ticket 4711")  # noqa: E731
    for step in die_at_each_request(quick, memory, prepare, act):
        seen = quick.look()
        assert "whole" in (seen.get(2), seen.get(3)), f"a server would fall back to 1 ({step})"
        done = reconcile(quick.registry, quick.url)
        assert done.problems == (), step
        assert quick.serves() in (2, 3)
        quick.in_order()
        assert quick.registry.get(MODEL, quick.serves() or 0).bytes_gone is False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_retention_may_die_at_any_request(quick: StoreWorld, memory: MemoryStore) -> None:
    def prepare() -> None:
        for _ in range(4):
            quick.promote()

    act = lambda: prune(  # noqa: E731
        quick.registry, MODEL, quick.url, Retention(1), dry_run=False
    )
    for step in die_at_each_request(quick, memory, prepare, act):
        seen = quick.look()
        assert (seen[3], seen[4]) == ("whole", "whole"), step
        if step % 2:
            assert reconcile(quick.registry, quick.url).problems == (), step
            quick.in_order()
        act()
        assert quick.look() == {3: "whole", 4: "whole"}, step
        reconcile(quick.registry, quick.url)
        assert [row.name for row in quick.status().rows] == ["3", "4"]
        quick.in_order()


@pytest.mark.parametrize("what", ["a promotion", "a rollback", "changed bytes", "lost bytes"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_reconcile_may_die_at_any_request(
    quick: StoreWorld, memory: MemoryStore, what: str
) -> None:
    """What settles a crash, or an accident, may be interrupted itself."""

    def prepare() -> None:
        quick.promote()
        quick.promote()
        if what == "a promotion":
            number = quick.register()
            quick.decide(number)
            quick.registry.record_intent(MODEL, number, quick.url, "production")
            upload_tree(quick.folder / f"model{number}", f"{quick.url}/{number}")
        elif what == "a rollback":
            quick.registry.record_rollback_intent(MODEL, 1, quick.url, reason="x")
            for key in memory.below("1"):
                del memory.bucket.contents[key]
        elif what == "changed bytes":
            memory.put("2/assets/words.txt", b"changed")
            memory.put("2/assets/more.txt", b"strange")
        else:
            for key in [*memory.below("2"), *memory.below(".tfx_registry/blobs")]:
                del memory.bucket.contents[key]

    act = lambda: reconcile(quick.registry, quick.url, quarantine=True)  # noqa: E731
    for step in die_at_each_request(quick, memory, prepare, act):
        if what != "changed bytes":
            assert set(quick.look().values()) <= {"whole", "loads in vain"}, step
        assert act().problems == (), step
        again = act()
        assert (again.actions, again.problems) == ((), ()), step
        quick.in_order()
    assert quick.serves() == {"a promotion": 3, "a rollback": 1}.get(what, 2)


def test_the_gate_waits_for_a_promotion_that_became_visible(
    quick: StoreWorld, memory: MemoryStore
) -> None:
    quick.promote()
    number = quick.register()
    quick.decide(number)

    def die(*_: object, **__: object) -> None:
        raise DeadError

    record = ModelRegistry.record_promotion
    ModelRegistry.record_promotion = die  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(DeadError):
            promote(quick.registry, MODEL, number, quick.url)
    finally:
        ModelRegistry.record_promotion = record  # type: ignore[method-assign]
    head = quick.registry.head(MODEL)
    assert "interrupted" in unsettled(head, "production", quick.registry.get(MODEL, 1), 9)
    assert "was interrupted" in quick.status().problems[0]
    assert reconcile(quick.registry, quick.url).actions == (
        "finished an interrupted promotion of version 2",
    )
    assert quick.serves() == 2
