"""Writers with two releases of ML Metadata on one database, at the same time, from its first start.

The other release comes with another interpreter, which `tools/second_lane.sh` names:

    TFX_REGISTRY_OTHER_PYTHON   its command line, for example "chroot /root121 /venv/bin/python"
    TFX_REGISTRY_OTHER_ROOT     what it sees as "/", for example "/root121"

Without them this interpreter is both sides, with fewer writers: then it is two installations of
one release.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.testing import GrpcServerProcess

OTHER = shlex.split(os.environ.get("TFX_REGISTRY_OTHER_PYTHON", ""))
ROOT = Path(os.environ.get("TFX_REGISTRY_OTHER_ROOT", "/"))
WRITERS, VERSIONS = (4, 10) if OTHER else (2, 4)

#: Reads where the registry is, then waits for a line, so that all begin together.
WRITER = """
import json, os, sys
from tfx_registry import ModelRegistry
given = json.loads(sys.stdin.readline())
os.environ["TFX_REGISTRY_PASSWORD"] = given["password"]
name = given["name"]
print("ready", flush=True)
sys.stdin.readline()
with ModelRegistry.open(given["uri"]) as registry:
    registry._retry_seconds = 200.0
    for index in range(given["count"]):
        key = f"{name}-{index}"
        for _ in range(1 + (index % 4 == 0)):  # and sometimes again, as a retry
            version = registry.register("penguin", given["model"], idempotency_key=key, actor=name)
        print(key, version.number, flush=True)
        if index % 2:
            registry.set_alias("penguin", "newest", version.number, actor=name)
            registry.set_label("penguin", version.number, "by", "\\u00e9\\\\" + name, actor=name)
        else:
            registry.approve("penguin", version.number, actor=name, reason="0.1" * 700)
"""

#: Says what one side sees: the release, the chain, the state, and whether they agree.
READER = """
import hashlib, json, os, sys
import ml_metadata
from tfx_registry import ModelRegistry, codec
from tfx_registry.registry import fold
given = json.loads(sys.stdin.readline())
os.environ["TFX_REGISTRY_PASSWORD"] = given["password"]
with ModelRegistry.open(given["uri"], create=False) as registry:
    events = registry.history("penguin")
    state = fold.replay(events)
    head = registry.head("penguin")
    versions = registry.list_versions("penguin", newest_first=False)
    assert codec.dumps(state.head) == codec.dumps(head)
    assert [codec.dumps(v) for v in state.versions.values()] == [codec.dumps(v) for v in versions]
    log = registry.verify_log("penguin")
    print(json.dumps({
        "release": ml_metadata.__version__,
        "findings": [str(f) for f in registry.fsck().findings + log.findings],
        "digests": [event.digest() for event in events],
        "end": log.digest,
        "head": codec.dumps(head),
        "versions": [codec.dumps(v) for v in versions],
        "registered": {e.token: e.payload.number for e in events if e.kind == "registered"},
        "served": registry.resolve("penguin@newest").number,
    }))
"""


@pytest.fixture(params=["sqlite", "mysql", "postgresql", "grpc"])
def uri(request: pytest.FixtureRequest, new_uri: Callable[[str], str]) -> Iterator[str]:
    """The URI of a database that does not exist yet, which both sides reach."""
    if request.param != "grpc":
        yield new_uri(request.param)
        return
    with GrpcServerProcess() as server:
        yield server.uri()


def seen_by_other(text: str) -> str:
    """The path or URI as the other side writes it."""
    return text if str(ROOT) == "/" else text.replace(str(ROOT), "", 1)


class Side:
    """One of the two installations."""

    def __init__(self, command: list[str], uri: str, model: Path, seen: Callable[[str], str]):
        self.command = command
        self.given = {
            "uri": seen(uri),
            "model": seen(str(model)),
            "password": os.environ.get("TFX_REGISTRY_PASSWORD", ""),
        }

    def start(self, code: str, **given: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self.command, "-c", code], text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps({**self.given, **given}) + "\n")
        process.stdin.flush()
        return process

    def read(self) -> dict[str, Any]:
        process = self.start(READER)
        out, err = process.communicate(timeout=250)
        assert process.returncode == 0, err
        found: dict[str, Any] = json.loads(out)
        return found


@pytest.fixture
def sides(uri: str, plain_model: Path) -> tuple[Side, Side]:
    """This interpreter and the other one."""
    other = OTHER or [sys.executable]
    return (
        Side([sys.executable], uri, plain_model, str),
        Side(other, uri, plain_model, seen_by_other),
    )


def test_both_releases_write_at_once(sides: tuple[Side, Side]) -> None:
    names = [f"{where}{index}" for index in range(WRITERS) for where in ("here", "there")]
    started = {
        name: sides[name.startswith("there")].start(WRITER, name=name, count=VERSIONS)
        for name in names
    }
    try:
        for process in started.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()
        for process in started.values():
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers: dict[str, int] = {}
        for name, process in started.items():
            out, err = process.communicate(timeout=250)
            assert process.returncode == 0, f"{name}: {err}"
            answers |= {key: int(number) for key, number in map(str.split, out.splitlines())}
    finally:
        for process in started.values():
            process.kill()
            process.communicate()

    seen = [side.read() for side in sides]
    releases = [side.pop("release") for side in seen]
    assert (releases[0] != releases[1]) == bool(OTHER), releases
    assert seen[0] == seen[1]
    found = seen[0]
    assert found["findings"] == []
    assert found["registered"] == answers
    assert sorted(answers.values()) == list(range(1, 2 * WRITERS * VERSIONS + 1))
    assert found["digests"][-1] == found["end"]
    # One registration, and for every second one an alias and a label, for the others an approval.
    assert len(found["digests"]) == len(answers) * 5 // 2


def test_each_release_goes_on_where_the_other_stopped(
    sides: tuple[Side, Side], uri: str, plain_model: Path
) -> None:
    """Turn by turn, in one process here and a new one there each time."""
    with ModelRegistry.open(uri) as registry:
        for turn in range(2):
            assert registry.register("penguin", plain_model).number == 3 * turn + 1
            process = sides[1].start(WRITER, name=f"there{turn}", count=2)
            out, err = process.communicate("go\n", timeout=250)
            assert process.returncode == 0, err
            assert out.splitlines()[1:] == [
                f"there{turn}-{index} {3 * turn + 2 + index}" for index in range(2)
            ]
            assert registry.latest("penguin").number == 3 * turn + 3
    seen = [side.read() for side in sides]
    assert [side.pop("findings") for side in seen] == [[], []]
    assert seen[0]["digests"] == seen[1]["digests"]
