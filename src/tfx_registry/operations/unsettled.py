"""Tells where what a server loads may not be what the registry says serves.

There the gate has nothing right to compare with, so it blocks until somebody has settled it.
"""

from __future__ import annotations

from pathlib import Path

from tfx_registry.records import Head, Version
from tfx_registry.serving import list_version_directories
from tfx_registry.serving.layout import STATE_DIRECTORY
from tfx_registry.serving.objects import ObjectUrl, ObjectView, is_object_url

__all__ = ["unsettled"]


def _lies(place: str, number: int) -> bool:
    if not is_object_url(place):
        return (Path(place) / str(number)).exists()
    return ObjectView.open(ObjectUrl.parse(place)).look(str(number)).loadable


def unsettled(head: Head, alias: str, serving: Version | None, candidate: int) -> str:
    """Looks for what was interrupted, for lost bytes of what serves, and for what serves instead.

    After a backup of the registry or of a directory was put back, one is behind the other. What
    cannot be seen from here, because the directory is not mounted, is not looked at.

    Args:
        head: Head of the model.
        alias: The alias.
        serving: The version that serves under it by the registry, or None.
        candidate: The version that is decided on; its own unfinished promotion is no obstacle.

    Returns:
        What is unsettled and how to settle it, or "".
    """
    for begun in head.unfinished.values():
        if begun.alias != alias:
            continue
        place = begun.destination
        todo = f"settle it with 'tfx-registry reconcile --serving-dir {place}' and evaluate again"
        if begun.operation == "rollback":
            return f"a rollback to version {begun.number} in {place!r} was interrupted; {todo}"
        if not begun.operation and begun.number != candidate and _lies(place, begun.number):
            return (
                f"version {begun.number} lies in {place!r}, but its promotion was interrupted "
                f"before it was recorded; {todo}"
            )
    if serving is None:
        return ""
    lost = sorted(set(serving.serving) & set(serving.removed_from))
    if lost:
        return (
            f"version {serving.number} should serve in {lost[0]!r}, but its bytes are gone there; "
            "bring them back and run 'tfx-registry reconcile', or roll back, and evaluate again"
        )
    for place in serving.serving:
        if not is_object_url(place) and (why := _differs(head, alias, place, candidate)):
            return why
    return ""


def _differs(head: Head, alias: str, place: str, candidate: int) -> str:
    """Tells whether something else lies in a directory of files than what should serve there."""
    base, now, begun = Path(place), head.deployments[place], head.rollouts.get(place)
    try:
        if now.alias != alias or not (base / STATE_DIRECTORY).is_dir():
            return ""
        present = list_version_directories(base)
    except OSError:
        return ""  # not for this user
    if not present:
        return ""  # nothing serves instead; where the bytes are gone is another question
    if now.number not in present:
        return (
            f"version {now.number} should serve in {place!r}, and does not lie there; run "
            f"'tfx-registry reconcile --serving-dir {place}' and evaluate again"
        )
    newest = max(present)
    expected = {now.number, candidate, begun.number if begun is not None else candidate}
    if now.config is None and newest not in expected:
        return (
            f"servers load version {newest} in {place!r}, and by the registry version "
            f"{now.number} serves there; find out why with 'tfx-registry status --serving-dir "
            f"{place}', settle it, and evaluate again"
        )
    return ""
