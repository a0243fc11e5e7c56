"""Promote, roll back, reconcile, prune and status in object stores."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, Retention, promote, prune, reconcile, rollback
from tfx_registry.digest import FileDigest, combine
from tfx_registry.errors import (
    ConflictError,
    IntegrityError,
    InvalidUriError,
    NotFoundError,
    RefusedError,
    RegistryError,
    ServingDirectoryError,
)
from tfx_registry.operations import DirectoryStatus, adopt, promote_by_config, status, verify
from tfx_registry.operations.unsettled import unsettled
from tfx_registry.promotion import Promotion
from tfx_registry.records import Verdict
from tfx_registry.registry.events import Decided
from tfx_registry.serving.layout import parse_version_name
from tfx_registry.serving.objects import ObjectOptions, ObjectUrl, ObjectView
from tfx_registry.serving.objects.records import hash_stored
from tfx_registry.testing.memory_bucket import DeadError, MemoryBucket
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.object_stores import (
    GcsServer,
    ObjectStoreServer,
    S3Server,
)

MODEL = "penguin"
DEAD_AFTER = 0.5  # seconds


class World:
    """A model, its registry, and a serving directory in a store."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.registry = ModelRegistry.open(f"sqlite:///{folder / 'registry.sqlite'}")

    def register(self) -> int:
        number = self.registry.latest_number(MODEL) + 1
        path = write_minimal_model(self.folder / f"model{number}", f"model {number}")
        (path / "variables").mkdir()
        (path / "assets").mkdir()
        (path / "assets" / "words.txt").write_text("the same in all", encoding="utf-8")
        return self.registry.register(MODEL, path).number

    def decide(self, number: int) -> None:
        serving = self.registry.serving(MODEL, "production")
        self.registry.record_decision(
            MODEL,
            Decided(
                number, Verdict.PASSED, self.registry.get(MODEL, number).digest, "production",
                baseline=serving.number if serving else None,
                serving_seq=serving.seq if serving else 0,
            ),
        )  # fmt: skip

    def promote(self, number: int | None = None) -> Promotion:
        number = number or self.register()
        self.decide(number)
        return promote(self.registry, MODEL, number, self.url)

    def view(self) -> ObjectView:
        return ObjectView.open(ObjectUrl.parse(self.url))

    def look(self) -> dict[int, str]:
        """What a server would find: each version, "whole", or "loads in vain".

        A version that a server can begin to load and that is not whole is an error at any time.
        """
        view, found = self.view(), {}
        for number, names in view.visible().items():
            for name in names:
                seen = view.look(name)
                if not seen.loadable:
                    found[number] = "loads in vain"
                    continue
                files = [hash_stored(view.bucket, p, o) for p, o in seen.objects.items()]
                digest = combine([FileDigest(f.path, f.size_bytes, f.sha256) for f in files])
                known = self.registry.known_versions(MODEL, [number]).get(number)
                if known is not None:
                    assert digest.manifest == known.facts.manifest, f"version {number} is not whole"
                found[number] = "whole"
        return found

    def serves(self) -> int | None:
        found = self.registry.serving(MODEL, "production")
        assert self.registry.fsck().findings == ()
        return found.number if found else None

    def status(self, *, hash_all: bool = False) -> DirectoryStatus:
        return status(self.registry, self.url, hash_all=hash_all)

    def in_order(self) -> None:
        found = self.status(hash_all=True)
        assert found.problems == ()
        assert found.unfinished is None
        seen = self.look()
        assert "loads in vain" not in seen.values()
        assert max(seen, default=None) == self.serves()


@pytest.fixture(autouse=True)
def options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFX_REGISTRY_OBJECTS_BACKOFF_SECONDS", "0.01")


@pytest.fixture(scope="module", params=[S3Server, GcsServer], ids=["s3", "gcs"])
def running(request: pytest.FixtureRequest) -> Iterator[ObjectStoreServer]:
    with request.param() as server:
        server.make_bucket("models")
        yield server


@pytest.fixture
def world(
    running: ObjectStoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A directory in an emulated store."""
    running.faults.clear()
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    made = World(tmp_path, f"{running.scheme}://models/{tmp_path.name}/penguin")
    yield made
    made.registry.close()


class Memory:
    """Stands for all buckets of this process."""

    def __init__(self) -> None:
        self.bucket = MemoryBucket(
            ObjectUrl.parse("s3://models/penguin"),
            ObjectOptions(lease_seconds=DEAD_AFTER, parallel=1, backoff_seconds=0),
        )

    def open(self, *_: object) -> MemoryBucket:
        return self.bucket

    def put(self, key: str, data: bytes = b"?") -> None:
        self.bucket._put(f"penguin/{key}", data)

    def drop(self, *keys: str) -> None:
        for key in keys:
            del self.bucket.contents[f"penguin/{key}"]

    def below(self, name: str) -> list[str]:
        return sorted(k for k in self.bucket.contents if k.startswith(f"penguin/{name}/"))


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    made = Memory()
    for module in ("directory", "view", "models"):
        monkeypatch.setattr(f"tfx_registry.serving.objects.{module}.open_bucket", made.open)
    return made


@pytest.fixture
def quick(memory: Memory, tmp_path: Path) -> Iterator[World]:
    """A directory in a bucket that answers at once."""
    made = World(tmp_path, "s3://models/penguin")
    yield made
    made.registry.close()


def test_the_life_of_a_directory(world: World) -> None:
    first = world.promote()
    assert (first.path, first.replaces, first.changed) == (f"{world.url}/1", None, True)
    assert world.promote().replaces == 1
    assert not promote(world.registry, MODEL, 2, world.url + "/").changed
    assert world.look() == {1: "whole", 2: "whole"}
    done = rollback(world.registry, MODEL, world.url, reason="wrong prices")
    assert (done.version.number, done.replaces, done.withdrawn) == (1, 2, ("2",))
    assert world.look() == {1: "whole"}
    assert world.promote(2).changed, "after a new decision it comes back"
    assert reconcile(world.registry, world.url).problems == ()
    world.in_order()


def test_each_step_of_a_long_life(quick: World) -> None:
    for _ in range(3):
        quick.promote()
    done = rollback(quick.registry, MODEL, quick.url, reason="wrong prices")
    assert (done.version.number, done.replaces, done.withdrawn) == (2, 3, ("3",))
    rows = {row.name: row.place for row in quick.status().rows}
    assert rows == {"1": "visible", "2": "visible", "3": "withdrawn"}
    with pytest.raises(RefusedError, match="rolled back"):
        promote(quick.registry, MODEL, 3, quick.url)
    assert not rollback(quick.registry, MODEL, quick.url, 2, reason="again").changed
    quick.promote(3)
    quick.in_order()

    quick.promote()
    plan = prune(quick.registry, MODEL, quick.url, Retention(1))
    assert [removal.number for removal in plan.removed] == [1, 2]
    assert quick.look().keys() == {1, 2, 3, 4}, "a dry run does nothing"
    prune(quick.registry, MODEL, quick.url, Retention(1), dry_run=False)
    assert quick.look() == {3: "whole", 4: "whole"}
    assert quick.registry.get(MODEL, 1).removed_from == (quick.url,)
    back = rollback(quick.registry, MODEL, quick.url, 3, reason="once more")
    assert back.version.number == 3
    quick.in_order()
    assert verify(quick.registry, MODEL, 3).good
    places = {place.role for place in verify(quick.registry, MODEL, 4).places}
    assert places == {"registered from", "withdrawn"}


def test_nothing_is_promoted_that_may_not_be(quick: World, memory: Memory) -> None:
    quick.register()
    with pytest.raises(RefusedError, match="no gate decision"):
        promote(quick.registry, MODEL, 1, quick.url)
    quick.decide(1)
    note = quick.folder / "model1" / "assets.extra" / "note.txt"
    note.write_text("changed", encoding="utf-8")
    with pytest.raises(IntegrityError, match="other bytes than the registered version"):
        promote(quick.registry, MODEL, 1, quick.url)
    assert not [key for what, key in memory.bucket.changes if "lock" not in key]
    assert not Path("s3:").exists()


def test_a_check_that_fails_leaves_nothing_visible(quick: World) -> None:
    quick.register()
    quick.decide(1)

    def refuse(path: Path) -> None:
        assert (path / "saved_model.pb").exists()
        raise RefusedError("no")

    with pytest.raises(RefusedError, match="no"):
        promote(quick.registry, MODEL, 1, quick.url, check=refuse)
    assert quick.look() == {}
    assert promote(quick.registry, MODEL, 1, quick.url, check=lambda _: None).changed


def test_a_lower_number_is_no_promotion(quick: World, memory: Memory) -> None:
    quick.register()
    quick.promote(quick.register())
    quick.decide(1)
    with pytest.raises(RefusedError, match="newer version 2 lies there"):
        promote(quick.registry, MODEL, 1, quick.url)
    memory.put("003/saved_model.pb")
    with pytest.raises(RefusedError, match="'003' lies there"):
        quick.promote(quick.register())


def test_a_directory_is_for_one_model(quick: World, memory: Memory) -> None:
    memory.put(".tfx_registry/model", b"other")
    with pytest.raises(RefusedError, match="for the model 'other'"):
        quick.promote()
    with pytest.raises(NotFoundError, match="'other', which is not registered"):
        quick.status()


def test_what_is_not_possible_there_says_so_and_does_nothing(
    quick: World, memory: Memory, tmp_path: Path
) -> None:
    quick.promote()
    before = dict(memory.bucket.contents)
    for action in (
        lambda: promote_by_config(quick.registry, MODEL, 1, quick.url, tmp_path / "models.config"),
        lambda: adopt(quick.registry, MODEL, quick.url),
    ):
        with pytest.raises(ServingDirectoryError, match="object store"):
            action()
    with pytest.raises(InvalidUriError, match="not hdfs://"):
        promote(quick.registry, MODEL, 1, "hdfs://host/penguin")
    assert memory.bucket.contents == before
    assert not (tmp_path / "models.config").exists()


# Crashes.


def die_at_each_request(
    quick: World, memory: Memory, prepare: Callable[[], object], act: Callable[[], object]
) -> Iterator[int]:
    """Lets an operation die at each of its changing requests; yields after each death."""
    prepare()
    start = dict(memory.bucket.contents)
    quick.registry.close()
    log = (quick.folder / "registry.sqlite").read_bytes()
    step = 0
    while True:
        memory.bucket.contents.clear()
        memory.bucket.contents.update(start)
        memory.bucket.changes.clear()
        quick.registry.close()
        (quick.folder / "registry.sqlite").write_bytes(log)
        quick.registry = ModelRegistry.open(f"sqlite:///{quick.folder / 'registry.sqlite'}")
        memory.bucket.dies_at = step
        try:
            act()
        except DeadError:
            memory.bucket.dies_at = None
            memory.drop(".tfx_registry/lock")  # nobody has to wait until the lease is over
        else:
            assert memory.bucket.dies_at == step, "it died and did not notice"
            memory.bucket.dies_at = None
            assert step > 3
            return
        yield step
        step += 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_promotion_may_die_at_any_request(quick: World, memory: Memory) -> None:
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
def test_a_rollback_may_die_at_any_request(quick: World, memory: Memory) -> None:
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
def test_retention_may_die_at_any_request(quick: World, memory: Memory) -> None:
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


def test_the_gate_waits_for_a_promotion_that_became_visible(quick: World, memory: Memory) -> None:
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


# What others do there.


def test_reconcile_brings_back_what_is_gone(quick: World, memory: Memory) -> None:
    quick.promote()
    quick.promote()
    for key in memory.below("2"):
        del memory.bucket.contents[key]
    assert "should serve and is missing" in quick.status().problems[0]
    assert "made version 2 visible" in reconcile(quick.registry, quick.url).actions[0]
    quick.in_order()
    # The whole prefix is gone; the bytes are where they were registered.
    memory.bucket.contents.clear()
    assert reconcile(quick.registry, quick.url).problems == ()
    assert quick.look() == {2: "whole"}
    # They are nowhere.
    memory.bucket.contents.clear()
    (quick.folder / "model2").rename(quick.folder / "elsewhere")
    assert "no known place has its bytes" in reconcile(quick.registry, quick.url).problems[0]
    assert quick.registry.get(MODEL, 2).bytes_gone
    (quick.folder / "elsewhere").rename(quick.folder / "model2")
    assert "lies here again" in reconcile(quick.registry, quick.url).actions[1]
    assert not quick.registry.get(MODEL, 2).bytes_gone


def test_changed_bytes_are_noticed_and_put_right_on_request(quick: World, memory: Memory) -> None:
    quick.promote()
    quick.promote()
    memory.put("2/assets.extra/note.txt", b"changed")
    memory.put("2/assets/more.txt", b"strange")
    memory.drop("2/assets/words.txt")
    assert "look closer with --verify" in quick.status().problems[0]
    assert "other bytes" in quick.status(hash_all=True).problems[0]
    assert not verify(quick.registry, MODEL, 2).good
    with pytest.raises(IntegrityError, match="something else is there"):
        promote(quick.registry, MODEL, 2, quick.url)
    assert "--quarantine" in reconcile(quick.registry, quick.url).problems[0]
    done = reconcile(quick.registry, quick.url, quarantine=True)
    assert (len(done.actions), done.problems) == (1, ())
    kept = {memory.bucket.contents[key][0] for key in memory.below(".tfx_registry/withdrawn")}
    assert kept == {b"changed", b"strange"}
    quick.in_order()


def test_what_others_put_above_is_reported_and_put_away_on_request(
    quick: World, memory: Memory
) -> None:
    quick.promote()
    memory.put("1700000000/saved_model.pb", b"of somebody")
    memory.put("0/readme", b"old")
    found = quick.status()
    assert found.loads == 1700000000
    assert any("lies above version 1" in problem for problem in found.problems)
    assert len(reconcile(quick.registry, quick.url).problems) == 2
    done = reconcile(quick.registry, quick.url, quarantine=True)
    assert ["0" in problem for problem in done.problems] == [True]
    assert quick.view().visible() == {0: ["0"], 1: ["1"]}
    kept = [memory.bucket.contents[key][0] for key in memory.below(".tfx_registry/withdrawn")]
    assert kept == [b"of somebody"]


def test_stored_bytes_that_belong_to_nothing_go(quick: World, memory: Memory) -> None:
    quick.promote()
    memory.put(".tfx_registry/blobs/" + "0" * 64)
    actions = reconcile(quick.registry, quick.url).actions
    assert actions == ("removed 1 stored objects that belong to no version",)
    quick.in_order()
    memory.put(".tfx_registry/versions/77.json", b"{}")
    memory.put(".tfx_registry/blobs/" + "0" * 64)
    assert reconcile(quick.registry, quick.url).actions == (), "nobody knows what 77 needs"


def test_bytes_that_a_store_holds_are_not_gone(quick: World, memory: Memory) -> None:
    """A local directory that loses a version knows of its copy in a store."""
    base = quick.folder / "serving"
    quick.promote()
    promote(quick.registry, MODEL, 1, base)
    (quick.folder / "model1").rename(quick.folder / "elsewhere")
    shutil.rmtree(base / "1")
    (base / "other").mkdir()
    reconcile(quick.registry, base)
    version = quick.registry.get(MODEL, 1)
    assert (version.removed_from, version.bytes_gone) == ((str(base),), False)


def test_without_its_note_a_directory_is_still_for_its_model(quick: World, memory: Memory) -> None:
    quick.promote()
    memory.drop(".tfx_registry/model")
    quick.in_order()
    quick.registry.register("gull", quick.folder / "model1")
    quick.registry.override("gull", 1, reason="x", expires=datetime.timedelta(days=1))
    with pytest.raises(RefusedError, match="for the model 'penguin'"):
        promote(quick.registry, "gull", 1, quick.url)


# Several at the same time.


def test_of_two_promoters_each_finds_a_directory_in_order(world: World) -> None:
    world.promote()
    second, third = world.register(), world.register()
    world.decide(second)
    world.decide(third)
    said: dict[int, str] = {}
    uri = f"sqlite:///{world.folder / 'registry.sqlite'}"
    begin = threading.Barrier(3)

    def act(key: int, number: int) -> None:
        with ModelRegistry.open(uri) as registry:
            begin.wait(60)
            try:
                promote(registry, MODEL, number, world.url)
                said[key] = ""
            except (RefusedError, ConflictError) as error:
                said[key] = str(error)

    threads = [
        threading.Thread(target=act, args=pair) for pair in enumerate((second, third, third))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(said) == 3
    assert "" in said.values()
    assert set(world.look().values()) == {"whole"}
    world.in_order()
    assert world.serves() in (second, third)


def test_a_store_that_does_not_answer_changes_nothing(
    quick: World, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick.promote()
    number = quick.register()
    quick.decide(number)
    memory.bucket.options = dataclasses.replace(memory.bucket.options, attempts=2)

    def busy(*_: object) -> None:
        raise TimeoutError("no answer")

    monkeypatch.setattr(memory.bucket, "_copy", busy)
    with pytest.raises(RegistryError, match="does not answer as it should") as caught:
        promote(quick.registry, MODEL, number, quick.url)
    assert caught.value.exit_code == 6
    assert quick.look() == {1: "whole"}
    monkeypatch.undo()
    assert parse_version_name("2") == 2
