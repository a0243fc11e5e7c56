"""What a model config file of TensorFlow Serving says, and edits that touch one model alone.

The file is a `ModelServerConfig` in protobuf text format
(tensorflow_serving/config/model_server_config.proto). An edit rewrites the version policy and the
labels of one model; comments, other models, and fields that this package knows nothing of keep
their bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tfx_registry.errors import InvalidInputError, NotFoundError
from tfx_registry.serving.text_format import (
    Edit,
    Message,
    TextFormatError,
    apply_edits,
    parse,
    quote,
)

__all__ = [
    "CANARY_LABEL",
    "READ_MARK",
    "STABLE_LABEL",
    "AllVersions",
    "LatestVersions",
    "ServedModel",
    "SpecificVersions",
    "VersionPolicy",
    "parse_model_config",
    "put_model",
    "remove_model",
]

#: The label that clients use: `/v1/models/MODEL/labels/stable:predict`.
STABLE_LABEL = "stable"
#: The label of a version on trial.
CANARY_LABEL = "canary"
#: How labels begin that tell whether a server has read the file; they stay for a few polls.
READ_MARK = "tfx_registry_read_"

_LIST = "model_config_list"
_CONFIG = "config"
_POLICY = "model_version_policy"
_LABELS = "version_labels"
_LABEL = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_INT64 = 2**63


@dataclass(frozen=True)
class LatestVersions:
    """The highest numbers in the directory.

    Attributes:
        count: How many; 0 counts as 1.
    """

    count: int = 1


@dataclass(frozen=True)
class AllVersions:
    """Every number in the directory."""


@dataclass(frozen=True)
class SpecificVersions:
    """The numbers that are named.

    Attributes:
        numbers: The numbers.
    """

    numbers: tuple[int, ...] = ()


VersionPolicy = LatestVersions | AllVersions | SpecificVersions


@dataclass(frozen=True)
class ServedModel:
    """One model of the file.

    Attributes:
        name: What clients call it.
        base_path: Where the server finds its versions; absolute, as the server sees it.
        policy: Which of them it loads.
        labels: Versions by label. A server takes a label only for a version that is AVAILABLE.
        platform: The platform; "tensorflow" for SavedModels.
    """

    name: str
    base_path: str
    policy: VersionPolicy = field(default_factory=LatestVersions)
    labels: Mapping[str, int] = field(default_factory=dict)
    platform: str = "tensorflow"


def parse_model_config(text: str, where: str = "the model config") -> tuple[ServedModel, ...]:
    """Reads the models of a file.

    Args:
        text: The file's text; an empty one lists no model.
        where: How messages name the file.

    Returns:
        The models, in the order of the file.

    Raises:
        InvalidInputError: The text is no list of models, or a server would refuse it.
    """
    try:
        return tuple(_read(message) for message in _configs(text))
    except TextFormatError as error:
        raise _invalid(where, str(error)) from error


def put_model(text: str, model: ServedModel, where: str = "the model config") -> str:
    """Writes what a file says of one model; adds the model if it is not there.

    Args:
        text: The file's text.
        model: The model. Where it is there already, its version policy and its labels are
            replaced; its name, its base path and everything else of it stay.
        where: How messages name the file.

    Returns:
        The new text. All characters outside of the policy and the labels are the same.

    Raises:
        InvalidInputError: The text is no list of models, or a label breaks its grammar.
    """
    _check(model, where)
    try:
        for message in _configs(text):
            if _read(message).name == model.name:
                return apply_edits(text, _edits(text, message, model))
        lists = list(parse(text).messages(_LIST))
    except TextFormatError as error:
        raise _invalid(where, str(error)) from error
    if not lists:
        gap = "\n" if text and not text.endswith("\n") else ""
        return f"{text}{gap}{_LIST} {{\n{_block(model)}}}\n"
    end = lists[-1].end
    at = len(text[:end].rstrip(" \t"))
    gap = "" if text[:at].endswith("\n") else "\n"
    return f"{text[:at]}{gap}{_block(model)}{text[at:]}"


def remove_model(text: str, name: str, where: str = "the model config") -> str:
    """Takes one model out of a file.

    Args:
        text: The file's text.
        name: The model.
        where: How messages name the file.

    Returns:
        The new text; what it says of other models has not changed.

    Raises:
        InvalidInputError: The text is no list of models, or lists them as `config: [...]`.
        NotFoundError: The model is not there.
    """
    try:
        for listing in parse(text).messages(_LIST):
            for entry in listing.named(_CONFIG):
                values = [v for v in entry.values if isinstance(v, Message)]
                if name not in {_read(value).name for value in values}:
                    continue
                if len(values) > 1:
                    raise _invalid(where, f"line {entry.line}: models are listed as config: [...]")
                return apply_edits(text, [_whole_lines(text, entry.start, entry.end)])
    except TextFormatError as error:
        raise _invalid(where, str(error)) from error
    raise NotFoundError(f"no model {name!r} in {where}", "it is not listed", "look at the file")


def _configs(text: str) -> list[Message]:
    top = parse(text)
    if top.only("custom_model_config") is not None:
        raise TextFormatError("it holds a custom_model_config, and not a list of models")
    if top.only(_LIST) is None and top.fields:
        first = top.fields[0]
        raise TextFormatError(f"line {first.line}: expected {_LIST}, found {first.name}")
    configs = [config for listing in top.messages(_LIST) for config in listing.messages(_CONFIG)]
    for name, count in Counter(_string(config, "name") for config in configs).items():
        if count > 1:
            raise TextFormatError(f"the model {name!r} is listed more than once")
    return configs


def _read(config: Message) -> ServedModel:
    labels = {}
    for entry in config.messages(_LABELS):
        version = next(entry.scalars("value"), None)
        labels[_string(entry, "key")] = version.integer() if version else 0
    policy = config.only(_POLICY)
    return ServedModel(
        name=_string(config, "name"),
        base_path=_string(config, "base_path"),
        policy=_read_policy(policy.values) if policy else LatestVersions(),
        labels=labels,
        platform=_string(config, "model_platform"),
    )


def _read_policy(values: Iterable[object]) -> VersionPolicy:
    policy = next(iter(values))
    if not isinstance(policy, Message):
        raise TextFormatError(f"{_POLICY} must be a message in braces")
    chosen = [f for f in policy.fields if f.name in ("latest", "all", "specific")]
    if len(chosen) > 1:
        raise TextFormatError(f"line {chosen[1].line}: {_POLICY} names more than one policy")
    for message in policy.messages("specific"):
        return SpecificVersions(tuple(v.integer() for v in message.scalars("versions")))
    for _ in policy.messages("all"):
        return AllVersions()
    for message in policy.messages("latest"):
        count = next(message.scalars("num_versions"), None)
        return LatestVersions(count.integer() if count else 0)
    return LatestVersions()


def _string(message: Message, name: str) -> str:
    found = message.only(name)
    return next(message.scalars(name)).string() if found else ""


def _edits(text: str, config: Message, model: ServedModel) -> list[Edit]:
    indent = _indent(text, config)
    edits = []
    policy = config.only(_POLICY)
    added = []
    if _read(config).policy != model.policy:
        if policy is None:
            added.append(_policy_text(model.policy, indent))
        else:
            written = _policy_text(model.policy, indent).strip()
            edits.append(Edit(policy.start, policy.end, written))
    if dict(_read(config).labels) != dict(model.labels):
        edits += [_whole_lines(text, f.start, f.end) for f in config.named(_LABELS)]
        added.append(_labels_text(model.labels, indent))
    if added:
        inside = text[config.start : config.end]
        at = config.end - (len(inside) - len(inside.rstrip(" \t")))
        more = "".join(added)
        edits.append(Edit(at, at, more if text[:at].endswith("\n") else f"\n{more}"))
    return edits


def _indent(text: str, config: Message) -> str:
    """The blanks before the first field of a model, if it has a line of its own."""
    if config.fields:
        line = text.rfind("\n", 0, config.fields[0].start) + 1
        blanks = text[line : config.fields[0].start]
        if not blanks.strip() and line > 0:
            return blanks
    return "    "


def _whole_lines(text: str, start: int, end: int) -> Edit:
    """Removes a field, with its line where nothing else stands on it."""
    line = text.rfind("\n", 0, start) + 1
    after = re.compile(r"[ \t]*\n").match(text, end)
    if not text[line:start].strip() and after:
        return Edit(line, after.end(), "")
    return Edit(start, end, "")


def _block(model: ServedModel) -> str:
    return (
        f"  {_CONFIG} {{\n"
        f"    name: {quote(model.name)}\n"
        f"    base_path: {quote(model.base_path)}\n"
        f"    model_platform: {quote(model.platform)}\n"
        f"{_policy_text(model.policy, '    ')}{_labels_text(model.labels, '    ')}  }}\n"
    )


def _policy_text(policy: VersionPolicy, indent: str) -> str:
    if isinstance(policy, SpecificVersions):
        numbers = "".join(f"{indent}    versions: {number}\n" for number in policy.numbers)
        inside = f"{indent}  specific {{\n{numbers}{indent}  }}\n"
    elif isinstance(policy, AllVersions):
        inside = f"{indent}  all {{}}\n"
    else:
        inside = f"{indent}  latest {{ num_versions: {policy.count} }}\n"
    return f"{indent}{_POLICY} {{\n{inside}{indent}}}\n"


def _labels_text(labels: Mapping[str, int], indent: str) -> str:
    return "".join(
        f"{indent}{_LABELS} {{ key: {quote(label)} value: {number} }}\n"
        for label, number in sorted(labels.items())
    )


def _check(model: ServedModel, where: str) -> None:
    for label, number in model.labels.items():
        if not _LABEL.fullmatch(label):
            raise _invalid(where, f"the label {label!r} may have letters, digits and _ only")
        if not -_INT64 <= number < _INT64:
            raise _invalid(where, f"the version {number} does not fit into 64 bits")
    if not model.name or not model.base_path:
        raise _invalid(where, "a model needs a name and a base path")


def _invalid(where: str, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"cannot use {where}", why, "correct it; a server keeps its last good configuration"
    )
