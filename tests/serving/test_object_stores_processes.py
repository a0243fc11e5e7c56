"""Promotions into an object store that are killed while a server looks on; and what is served."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, promote, reconcile
from tfx_registry.digest import digest_path
from tfx_registry.operations import status
from tfx_registry.records import Verdict
from tfx_registry.registry.events import Decided
from tfx_registry.serving.objects import ObjectUrl, ObjectView
from tfx_registry.serving.objects.models import fetched_model
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.object_stores import S3Server

MODEL = "penguin"
KEY = "serving/penguin"
WORKER = Path(__file__).with_name("object_store_worker.py")
#: Where a promotion of version 2 is killed: at the request that the store has just received.
MOMENTS = {
    "copy": ("PUT", "/penguin/2/"),
    "graph": ("PUT", "/penguin/2/saved_model.pb"),
}


class Watcher:
    """Looks at the store as TensorFlow Serving's file-system source does, all the time."""

    def __init__(self, url: str, digests: dict[int, str]) -> None:
        self.url = url
        self.digests = digests
        self.wrong: set[str] = set()
        self.polls = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _watch(self) -> None:
        view = ObjectView.open(ObjectUrl.parse(self.url))
        while not self._stop.is_set():
            for number, names in view.visible().items():
                # A server reads saved_model.pb first, and fails where it is not there.
                if not view.look(names[0]).loadable:
                    continue
                with fetched_model(f"{self.url}/{names[0]}") as path:
                    if digest_path(path).manifest != self.digests.get(number):
                        self.wrong.add(f"version {number} could be loaded and was not whole")
            self.polls += 1
            time.sleep(0.05)


def decide(registry: ModelRegistry, number: int) -> None:
    serving = registry.serving(MODEL, "production")
    registry.record_decision(
        MODEL,
        Decided(
            number, Verdict.PASSED, registry.get(MODEL, number).digest, "production",
            baseline=serving.number if serving else None, serving_seq=serving.seq if serving else 0,
        ),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_promotion_that_is_killed_leaves_nothing_wrong(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, contains = MOMENTS[moment]
    uri, url = f"sqlite:///{tmp_path / 'registry.sqlite'}", f"s3://models/{KEY}"
    with S3Server() as server, ModelRegistry.open(uri) as registry:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.make_bucket("models")
        for number in (1, 2):
            path = write_minimal_model(tmp_path / str(number), f"model {number}")
            registry.register(MODEL, path)
        digests = {v.number: v.facts.manifest for v in registry.list_versions(MODEL)}
        decide(registry, 1)
        promote(registry, MODEL, 1, url)
        decide(registry, 2)
        registry.close()
        with Watcher(url, digests) as watcher:
            killed = threading.Event()
            with subprocess.Popen(
                [sys.executable, str(WORKER), uri, url, "2"], stdout=subprocess.PIPE, env=os.environ
            ) as worker:

                def kill(of: str, target: str) -> None:
                    if of == method and contains in target and not killed.is_set():
                        worker.send_signal(signal.SIGKILL)
                        killed.set()

                server.faults.on_request = kill
                worker.wait(120)
                server.faults.on_request = None
            assert killed.is_set()
            assert worker.returncode == -signal.SIGKILL
            # Its lease is over after half a minute, which nobody has to wait for here.
            ObjectView.open(ObjectUrl.parse(url)).bucket.delete([f"{KEY}/.tfx_registry/lock"])
            with ModelRegistry.open(uri) as after:
                done = reconcile(after, url)
                assert done.problems == ()
                assert done.serving == (2 if moment == "graph" else 1)
                assert promote(after, MODEL, 2, url).version.number == 2
                assert reconcile(after, url).actions == ()
                assert status(after, url, hash_all=True).problems == ()
            polls = watcher.polls
            deadline = time.monotonic() + 60
            while watcher.polls < polls + 2 and time.monotonic() < deadline:
                time.sleep(0.05)
        assert watcher.wrong == set()
        assert watcher.polls > polls


@pytest.mark.slow
def test_what_was_published_predicts_as_the_model_did(
    saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    with S3Server() as server, ModelRegistry.open(f"sqlite:///{tmp_path / 'r.sqlite'}") as registry:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.make_bucket("models")
        # Where pipelines on a cluster keep their artifacts.
        view = ObjectView.open(ObjectUrl.parse("s3://models/run"))
        for file in saved_model.rglob("*"):
            if file.is_file():
                relative = file.relative_to(saved_model).as_posix()
                view.bucket.create(f"run/model/Format-Serving/{relative}", file.read_bytes())
        version = registry.register(MODEL, "s3://models/run/model/")
        assert version.uri == "s3://models/run/model/Format-Serving"
        assert version.facts.digest == digest_path(saved_model).root
        assert "serving_default" in version.facts.signatures
        decide(registry, 1)
        done = promote(registry, MODEL, 1, "s3://models/serving/penguin")
        with fetched_model(done.path) as path:
            assert digest_path(path) == digest_path(saved_model)
            loaded = tf.saved_model.load(str(path))
            answer = loaded.signatures["serving_default"](tf.constant([[1.0, 2.0]]))
        assert answer["y"].numpy().tolist() == [[3.0, 6.0]]
        local = promote(registry, MODEL, 1, tmp_path / "serving")
        assert digest_path(local.path) == digest_path(saved_model)
