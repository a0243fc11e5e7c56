"""Versions as they come out of ML Metadata, with as little work as can be done.

To list a hundred versions is mostly the work of making Python objects of ML Metadata's answer. Its
bytes are read here as a message that has three fields of each artifact, and keeps the properties as
bytes; these are read when somebody looks at the version, and only the first piece of its text as
long as that is enough.
"""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from ml_metadata.proto import metadata_store_pb2 as pb
from ml_metadata.proto import metadata_store_service_pb2 as service

from tfx_registry.records import Version
from tfx_registry.registry.mlmd_text import (
    RECORD,
    VERSION_KEY,
    decode_text,
    read_text,
    version_of,
)
from tfx_registry.registry.unread import unread
from tfx_registry.registry.version_text import read_short

__all__ = ["find_versions"]

_METHOD = "GetArtifactsByExternalIds"
_DELETED = pb.Artifact.DELETED
_FIELD = descriptor_pb2.FieldDescriptorProto
_ENTRY = pb.Artifact.CustomPropertiesEntry
#: What the bytes of the first piece of a record begin with: its key, and the number of its value,
#: whose length follows.
_FIRST = b"\x0a%c%b\x12" % (len(RECORD), RECORD.encode())
#: The number of a text in a value; the length of the text follows.
_TEXT = 0x1A


def find_versions(store: Any, external_ids: list[str]) -> dict[int, Version]:
    """Finds versions of one model by their external ids.

    Args:
        store: A `MetadataStore` on a database; not one on a gRPC server, whose client reads answers
            itself.
        external_ids: External ids of versions.

    Returns:
        The versions that there are, by number; none of them is read yet.
    """
    request = service.GetArtifactsByExternalIdsRequest(external_ids=external_ids)
    answer = _answer_class()()
    store._call(_METHOD, request, answer)
    prefix, _, _ = external_ids[0].rpartition("@")
    model, start = prefix.removeprefix(VERSION_KEY), len(prefix) + 1
    found = {}
    for artifact in answer.artifacts:
        if artifact.state != _DELETED:  # else a repair took it out
            number = int(artifact.external_id[start:])
            found[number] = unread(_Record(model, number, artifact))
    return found


class _Record:
    """The record of a version, in an artifact whose properties are bytes."""

    __slots__ = ("_artifact", "model", "number")

    def __init__(self, model: str, number: int, artifact: Any) -> None:
        self.model = model
        self.number = number
        self._artifact = artifact

    def read_short(self) -> dict[str, Any] | None:
        """See `unread.Record`."""
        for data in self._artifact.custom_properties:
            if data.startswith(_FIRST):
                break
        else:
            return None
        value = _after_number(data, len(_FIRST))
        if data[value] != _TEXT:
            return None
        try:
            text = str(data[_after_number(data, value + 1) :], "utf-8")
        except UnicodeDecodeError:
            return None  # reading all of it says so
        return read_short(decode_text(text) if "~" in text else text)

    def read(self) -> Version:
        """See `unread.Record`."""
        artifact = pb.Artifact()
        for data in self._artifact.custom_properties:
            entry = _ENTRY.FromString(data)
            artifact.custom_properties[entry.key].CopyFrom(entry.value)
        return version_of(read_text(artifact))


def _after_number(data: bytes, at: int) -> int:
    """Returns where a number ends that begins there: with the first byte below 128."""
    while data[at] > 127:
        at += 1
    return at + 1


@functools.cache
def _answer_class() -> Any:
    """Makes the class of the answer, with the numbers that ML Metadata's own fields have."""
    file = descriptor_pb2.FileDescriptorProto(
        name="tfx_registry/registry/slim.proto", package="tfx_registry.registry", syntax="proto2"
    )
    artifact, answer = (file.message_type.add(name=name) for name in ("Artifact", "Answer"))
    numbers = pb.Artifact.DESCRIPTOR.fields_by_name
    for name, kind, label in (
        ("state", _FIELD.TYPE_INT32, _FIELD.LABEL_OPTIONAL),
        ("external_id", _FIELD.TYPE_STRING, _FIELD.LABEL_OPTIONAL),
        ("custom_properties", _FIELD.TYPE_BYTES, _FIELD.LABEL_REPEATED),
    ):
        artifact.field.add(name=name, number=numbers[name].number, type=kind, label=label)
    whole = service.GetArtifactsByExternalIdsResponse.DESCRIPTOR.fields_by_name["artifacts"]
    answer.field.add(
        name="artifacts", number=whole.number, label=_FIELD.LABEL_REPEATED,
        type=_FIELD.TYPE_MESSAGE, type_name=".tfx_registry.registry.Artifact",
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("tfx_registry.registry.Answer")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)  # before protobuf 4.22
