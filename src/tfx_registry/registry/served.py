"""What served at an instant or on a day, and why: a fold of the log up to there."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from tfx_registry import codec
from tfx_registry.errors import IntegrityError, InvalidInputError, NotFoundError
from tfx_registry.records import Deployment, Head, Version
from tfx_registry.registry.events import Decided, Event
from tfx_registry.registry.replay import Replay
from tfx_registry.registry.store import Store, StoredRecord
from tfx_registry.registry.verify import read_log

__all__ = ["Served", "begin_of_day", "parse_instant", "served_at"]

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True)
class Served:
    """A version that served at an instant, with everything that let it.

    Attributes:
        deployment: Where, under which alias, since when, and by whom.
        reason: Why, in the words of who promoted it.
        version: The version as it stood then, or when it ended on that day: its sources, its
            approvals and the decision in force are those of that instant, whatever came later.
        decision: The gate decision in force then, with its numbers; None if there was none.
        kind: The kind of the event that put it there: "promoted", "rolled_back", "adopted" or
            "canary_started".
        until: When it ended, for what served earlier on the day that was asked for; else "".
        ended_by: Sequence number of the event that ended it, or 0.
    """

    deployment: Deployment
    reason: str
    version: Version
    decision: Decided | None
    kind: str = ""
    until: str = ""
    ended_by: int = 0


def parse_instant(text: str) -> str:
    """Reads a date or a time, in UTC.

    Args:
        text: `2026-11-21` for the end of that day, `2026-11-21T10:00` or with seconds for that
            instant; an offset such as `+02:00` is respected, without one it is UTC.

    Returns:
        The instant as times are stored.

    Raises:
        InvalidInputError: It is neither.
    """
    whole_day = _is_day(text)
    try:
        instant = datetime.datetime.fromisoformat(text.removesuffix("Z").strip())
    except ValueError as error:
        raise InvalidInputError(
            f"invalid date {text!r}",
            "it is neither a date nor a time",
            "write 2026-11-21 for the end of that day, or 2026-11-21T10:00, in UTC",
        ) from error
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=datetime.timezone.utc)
    if whole_day:
        instant = instant.replace(hour=23, minute=59, second=59, microsecond=999999)
    try:
        utc = instant.astimezone(datetime.timezone.utc)
    except OverflowError as error:
        raise InvalidInputError(f"invalid date {text!r}", str(error), "") from error
    return utc.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def begin_of_day(text: str) -> str | None:
    """Returns when a day begins, as times are stored; None for what is no date alone.

    Args:
        text: What `parse_instant` reads.
    """
    return f"{text}T00:00:00.000000Z" if _is_day(text) else None


def _is_day(text: str) -> bool:
    return _DATE.fullmatch(text) is not None


def served_at(
    store: Store,
    model: str,
    instant: str,
    *,
    alias: str = "production",
    destination: str | None = None,
    since: str | None = None,
) -> list[Served]:
    """Folds the log of a model up to an instant and returns what served then.

    Events count in the order of the log: those before the first one that is later than the
    instant. Clocks of machines may differ; the order of the log does not.

    Args:
        store: The store.
        model: Name of the model; it exists.
        instant: A time as stored.
        alias: The alias under which it served; ignored where a destination is given.
        destination: The serving base directory; None means all of the alias.
        since: A time as stored: what ended between it and the instant is told, too.

    Returns:
        What served at the instant, the newest promotion first; then what had ended since, the
        last first. A version on trial served under the alias of its trial, beside the other one
        in its directory.

    Raises:
        IntegrityError: The log is damaged.
        NotFoundError: Nothing served there then.
    """
    replay = Replay(model)
    ended: list[Served] = []

    def serving() -> list[Deployment]:
        head = replay.head
        deployments = [*head.deployments.values(), *head.canaries.values()] if head else []
        return [
            deployment
            for deployment in sorted(deployments, key=lambda d: d.seq, reverse=True)
            if (
                deployment.alias == alias
                if destination is None
                else deployment.destination == destination
            )
        ]

    for seq, record in read_log(store, model, 1, 0):
        time = _time_of(record)
        if time > instant:
            replay.verifier.feed(seq, record)  # it vouches for the event before
            break
        before: list[tuple[Deployment, str]] = []
        if since is not None and time >= since:
            before = [(d, replay.version_text(d.number) or "") for d in serving()]
        replay.feed(seq, record)
        now = serving() if before else []
        ended += [
            _explain(store, d, codec.decode(Version, codec.loads(text)), until=time, ended_by=seq)
            for d, text in before
            if d not in now
        ]
    if replay.all_findings:
        raise IntegrityError(
            f"cannot tell what served of {model!r}",
            str(replay.all_findings[0]),
            "see all damage with 'tfx-registry fsck'",
        )
    found = [_explain(store, d, replay.versions[d.number]) for d in serving()] + ended[::-1]
    if not found:
        raise _nothing(model, instant, alias, destination, replay.head)
    return found


def _explain(
    store: Store, deployment: Deployment, version: Version, *, until: str = "", ended_by: int = 0
) -> Served:
    began = _event(store, version.model, deployment.seq)
    decided = _event(store, version.model, version.decision.seq) if version.decision else None
    return Served(
        deployment,
        began.reason if began else "",
        version,
        decided.payload if decided and isinstance(decided.payload, Decided) else None,
        began.kind if began else "",
        until,
        ended_by,
    )


def _event(store: Store, model: str, seq: int) -> Event | None:
    return next(iter(store.read_events(model, seq, seq)), None)


def _time_of(record: StoredRecord) -> str:
    try:
        return str(codec.loads(record.text)["time"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return ""  # it is fed, and named as unreadable


def _nothing(
    model: str, instant: str, alias: str, destination: str | None, head: Head | None
) -> NotFoundError:
    where = f"under {alias!r}" if destination is None else f"in {destination!r}"
    if head is None:
        why = "its first version was registered later"
    elif head.deployments:
        others = sorted({f"{d.alias!r} in {d.destination!r}" for d in head.deployments.values()})
        why = f"served then: {', '.join(others[:5])}"
    else:
        why = "nothing had been promoted"
    return NotFoundError(
        f"nothing of {model!r} served {where} at {instant}",
        why,
        f"see all promotions with 'tfx-registry history {model}'",
    )
