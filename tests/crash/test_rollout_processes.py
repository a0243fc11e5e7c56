"""Rollouts by a model config whose promoter is killed, watched from a server's point of view."""

from __future__ import annotations

import datetime
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, reconcile
from tfx_registry.operations import Servers, promote_by_config
from tfx_registry.registry import fold
from tfx_registry.serving.model_config import SpecificVersions
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.serving.status_client import ModelServer
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server import ModelServerEmulator

# Kills itself at a step, named by a function that is about to be called or has returned.
WORKER = """
import os, pathlib, signal, sys
from tfx_registry import ModelRegistry
from tfx_registry.operations import Servers, label_moves, promote_by_config, rollout_steps

uri, number, base, config, url, canary, step = sys.argv[1:]

def die_around(owner, name, when):
    original = getattr(owner, name)
    def wrapper(*args, **kwargs):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(owner, name, wrapper)

when, _, name = step.partition(" ")
if name:
    owners = (ModelRegistry, label_moves, rollout_steps, rollout_steps.RolloutSteps)
    owner = next(o for o in owners if hasattr(o, name))
    die_around(owner, name, when)
print("ready", flush=True)
with ModelRegistry.open(uri) as registry:
    servers = Servers((url,), deadline_seconds=60, poll_seconds=0.01)
    promote_by_config(
        registry, "penguin", int(number), base, config, canary=canary == "canary", servers=servers
    )
print("promoted", flush=True)
"""

STEPS = [
    ("after record_rollout", "canary"),
    ("after write_entry", "stable"),
    ("after check_servers", "canary"),
    ("before record_config_promotion", "stable"),
    ("after record_canary", "canary"),
    ("after record_config_promotion", "stable"),
    ("after finish", "stable"),
]


class Scene:
    """A registry on disk, a directory and a config where version 1 is stable, and a server."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder}/r.sqlite"
        self.base = folder / "serving"
        self.config = folder / "models.config"
        with ModelRegistry.open(self.uri) as registry:
            for number in range(1, 6):
                path = write_minimal_model(folder / "models" / str(number), str(number))
                registry.register("penguin", path)
                registry.override("penguin", number, reason="test", expires=datetime.timedelta(1))
            promote_by_config(
                registry, "penguin", 1, self.base, self.config, servers=Servers(no_wait=True)
            )
        self.server = ModelServerEmulator(
            model_config_file=self.config, model_config_file_poll_wait_seconds=0.01,
            file_system_poll_wait_seconds=0.01, max_num_load_retries=0,
            load_retry_interval_seconds=0.0, allow_version_labels_for_unavailable_models=True,
        ).start()  # fmt: skip
        self.client = ModelServer(self.server.url, "penguin")

    @property
    def servers(self) -> Servers:
        return Servers((self.server.url,), deadline_seconds=60, poll_seconds=0.01)

    def start(self, number: int, kind: str, step: str = "") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, self.uri, str(number), str(self.base),
             str(self.config), self.server.url, kind, step],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def labels(self) -> dict[str, int]:
        (model,) = ModelConfigFile.peek(self.config)
        assert isinstance(model.policy, SpecificVersions)
        assert set(model.labels.values()) <= set(model.policy.numbers)
        return dict(model.labels)

    def recorded(self) -> dict[str, int]:
        """What the log says that the labels are."""
        with ModelRegistry.open(self.uri) as registry:
            head = registry.head("penguin")
            assert fold.replay(registry.history("penguin")).head == head
        labels = {"stable": head.deployments[str(self.base)].number}
        if str(self.base) in head.canaries:
            labels["canary"] = head.canaries[str(self.base)].number
        return labels

    def check_server(self) -> None:
        """No file that the server ever saw was one that it had to refuse."""
        assert self.server.errors == []
        assert self.client.label("stable") is not None


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.server.close()


@pytest.mark.parametrize(("step", "kind"), STEPS)
def test_killed_at_a_step_then_reconciled_or_repeated(scene: Scene, step: str, kind: str) -> None:
    victim = scene.start(2, kind, step)
    out, err = victim.communicate(timeout=100)
    assert (victim.returncode, out) == (-signal.SIGKILL, "ready\n"), err
    before = scene.recorded()
    done = {"stable": 1, "canary": 2} if kind == "canary" else {"stable": 2}
    assert before == (
        done if "finish" in step or step.startswith("after record_c") else {"stable": 1}
    )
    # A file is never ahead of the log: labels that it has were recorded.
    assert scene.labels().items() <= {**before, "stable": scene.labels()["stable"]}.items()
    assert scene.labels()["stable"] in (1, before["stable"])
    with ModelRegistry.open(scene.uri) as registry:
        if step.startswith("after"):
            assert reconcile(registry, scene.base).problems == ()
            assert scene.labels() == before
            assert reconcile(registry, scene.base).actions == ()
        promote_by_config(
            registry, "penguin", 2, scene.base, scene.config,
            canary=kind == "canary", servers=scene.servers,
        )  # fmt: skip
    assert scene.labels() == scene.recorded() == done
    assert scene.server.labels("penguin") == done
    scene.check_server()


def test_killed_at_random(scene: Scene) -> None:
    rng = random.Random(7)
    for number in (2, 3, 4):
        victim = scene.start(number, "stable")
        assert victim.stdout is not None
        victim.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.2))
        victim.kill()
        out, _ = victim.communicate()
        if "promoted" in out:
            assert scene.labels() == scene.recorded() == {"stable": number}
        with ModelRegistry.open(scene.uri) as registry:
            reconcile(registry, scene.base)
            assert scene.labels() == scene.recorded()
            promote_by_config(
                registry, "penguin", number, scene.base, scene.config, servers=scene.servers
            )
        assert scene.server.labels("penguin") == {"stable": number}
        scene.check_server()
