"""A model with its registry and a serving directory in an object store, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tfx_registry.digest import FileDigest, combine
from tfx_registry.operations import DirectoryStatus, status
from tfx_registry.promotion import Promotion, promote
from tfx_registry.records import Verdict
from tfx_registry.registry import ModelRegistry
from tfx_registry.registry.events import Decided
from tfx_registry.serving.objects import ObjectOptions, ObjectUrl, ObjectView
from tfx_registry.serving.objects.records import hash_stored
from tfx_registry.testing.memory_bucket import DeadError, MemoryBucket, is_lock
from tfx_registry.testing.minimal_model import write_minimal_model

__all__ = ["MODEL", "MemoryStore", "StoreWorld", "die_at_each_request"]

MODEL = "penguin"


class StoreWorld:
    """A model, its registry, and a serving directory in a store.

    Attributes:
        folder: Where the models lie that were registered.
        url: Address of the serving base directory.
        registry: The registry.
    """

    def __init__(self, folder: Path, url: str) -> None:
        """Registers nothing yet."""
        self.folder = folder
        self.url = url
        self.registry = ModelRegistry.open(f"sqlite:///{folder / 'registry.sqlite'}")

    def register(self) -> int:
        """Registers a model with bytes of its own; returns its number."""
        number = self.registry.latest_number(MODEL) + 1
        path = write_minimal_model(self.folder / f"model{number}", f"model {number}")
        (path / "variables").mkdir()
        (path / "assets").mkdir()
        (path / "assets" / "words.txt").write_text("the same in all", encoding="utf-8")
        return self.registry.register(MODEL, path).number

    def decide(self, number: int) -> None:
        """Lets a version pass, against what serves now."""
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
        """Decides and promotes; a new version where none is given."""
        number = number or self.register()
        self.decide(number)
        return promote(self.registry, MODEL, number, self.url)

    def view(self) -> ObjectView:
        """Opens the directory to look at it."""
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
                files = [hash_stored(view.bucket, p, seen.objects[p]) for p in seen.counted]
                digest = combine([FileDigest(f.path, f.size_bytes, f.sha256) for f in files])
                known = self.registry.known_versions(MODEL, [number]).get(number)
                if known is not None:
                    assert digest.manifest == known.facts.manifest, f"version {number} is not whole"
                found[number] = "whole"
        return found

    def serves(self) -> int | None:
        """What serves by the registry, which must be in order itself."""
        found = self.registry.serving(MODEL, "production")
        assert self.registry.fsck().findings == ()
        return found.number if found else None

    def status(self, *, hash_all: bool = False) -> DirectoryStatus:
        """What lies there."""
        return status(self.registry, self.url, hash_all=hash_all)

    def in_order(self) -> None:
        """Checks that directory and registry say the same."""
        found = self.status(hash_all=True)
        assert found.problems == ()
        assert found.unfinished is None
        seen = self.look()
        assert "loads in vain" not in seen.values()
        assert max(seen, default=None) == self.serves()


class MemoryStore:
    """Stands for all buckets of this process.

    Attributes:
        bucket: The one bucket.
    """

    def __init__(self) -> None:
        """Holds nothing yet."""
        self.bucket = MemoryBucket(
            ObjectUrl.parse("s3://models/penguin"),
            ObjectOptions(parallel=1, backoff_seconds=0),
        )

    def open(self, *_: object) -> MemoryBucket:
        """Stands for `open_bucket`."""
        return self.bucket

    def put(self, key: str, data: bytes = b"?") -> None:
        """Writes an object below the serving directory, as somebody else would."""
        self.bucket._put(f"penguin/{key}", data)

    def drop(self, *keys: str) -> None:
        """Removes objects below the serving directory."""
        for key in keys:
            del self.bucket.contents[f"penguin/{key}"]

    def drop_locks(self) -> None:
        """Ends the turn of whoever has died."""
        for key in [key for key in self.bucket.contents if is_lock(key)]:
            del self.bucket.contents[key]

    def below(self, name: str) -> list[str]:
        """Returns the keys below a name in the serving directory."""
        return sorted(k for k in self.bucket.contents if k.startswith(f"penguin/{name}/"))


def die_at_each_request(
    world: StoreWorld, store: MemoryStore, prepare: Callable[[], object], act: Callable[[], object]
) -> Iterator[int]:
    """Lets an operation die at each of its changing requests.

    Args:
        world: The model.
        store: Its store.
        prepare: Makes the state that the operation begins with; called once.
        act: The operation.

    Yields:
        After each death, at which request it was.
    """
    prepare()
    start = dict(store.bucket.contents)
    world.registry.close()
    log = (world.folder / "registry.sqlite").read_bytes()
    step = 0
    while True:
        store.bucket.contents.clear()
        store.bucket.contents.update(start)
        store.bucket.changes.clear()
        world.registry.close()
        (world.folder / "registry.sqlite").write_bytes(log)
        world.registry = ModelRegistry.open(f"sqlite:///{world.folder / 'registry.sqlite'}")
        store.bucket.dies_at = step
        try:
            act()
        except DeadError:
            store.bucket.dies_at = None
            store.drop_locks()  # nobody has to wait until the lease is over
        else:
            assert store.bucket.dies_at == step, "it died and did not notice"
            store.bucket.dies_at = None
            assert step > 0
            return
        yield step
        step += 1
