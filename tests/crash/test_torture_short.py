"""A short run of each torture; `make torture` is the long one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.slow

Tortured = Callable[..., list[int]]


@pytest.mark.parametrize(
    ("kind", "kills", "server_kills"),
    [("sqlite", 40, 0), ("mysql", 12, 1), ("postgresql", 12, 1), ("grpc", 12, 1)],
)
def test_killed_writers_and_servers_break_nothing(
    tortured: Tortured, kind: str, kills: int, server_kills: int
) -> None:
    killed, at_steps, servers = tortured(
        "torture.py",
        *("--on", kind, "--kills", str(kills)),
        summary=rf"torture on {kind}: (\d+) kills of writers \(.* at (\d+) of \d+ named steps, "
        r".*\), (\d+) of the server, .*, 0 violations, \d+ s\n",
    )
    assert killed >= kills
    assert at_steps > kills // 2
    assert servers >= server_kills


def test_killed_operations_in_a_serving_directory_break_nothing(tortured: Tortured) -> None:
    kills, at_steps, polls = tortured(
        "serving_torture.py",
        *("--kills", "20"),
        summary=r"torture of a serving directory: (\d+) kills \(.* at (\d+) of \d+ named steps, "
        r".*\), .*, (\d+) polls, 0 violations, \d+ s\n",
    )
    assert kills >= 20
    assert at_steps >= 3
    assert polls > 0


def test_killed_operations_in_a_store_break_nothing(tortured: Tortured) -> None:
    kills, polls = tortured(
        "store_torture.py",
        *("--kills", "3"),
        summary=r"torture of an object store: (\d+) kills \(.*\), .*, (\d+) polls, "
        r"0 violations, \d+ s\n",
    )
    assert kills >= 3
    assert polls > 0


def test_killed_rollouts_break_nothing(tortured: Tortured) -> None:
    kills, operations, polls = tortured(
        "rollout_torture.py",
        *("--kills", "5"),
        summary=r"torture of rollouts: (\d+) kills \(.*\), (\d+) operations done, (\d+) polls, "
        r"0 violations, \d+ s\n",
    )
    assert kills == 5
    assert operations > 0
    assert polls > 0
