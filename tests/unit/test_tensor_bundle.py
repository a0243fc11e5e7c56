"""What is read of a checkpoint's index and of records without TensorFlow, against TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_registry import crc32c
from tfx_registry.tensor_bundle import parse_index, shard_name
from tfx_registry.tfrecord import parse_records


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefix of a checkpoint in two data files, with all kinds of tensors."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("bundle")
    tensors = {
        **{
            f"t/{dtype.name}": tf.cast(tf.ones([3, 2]), dtype)
            for dtype in (tf.float32, tf.float64, tf.float16, tf.bfloat16, tf.int8, tf.int16)
        },
        **{
            f"t/{dtype.name}": tf.cast(tf.ones([2, 2]), dtype)
            for dtype in (tf.int32, tf.int64, tf.uint8, tf.uint16, tf.bool, tf.complex64)
        },
        "t/text": tf.constant(["a", "bc" * 200]),
        "t/scalar": tf.constant(1.0),
        "t/empty": tf.zeros([0, 4]),
        # Enough of them for several blocks of the table.
        **{f"many/variable_{i:04}": tf.fill([i % 7], float(i)) for i in range(400)},
    }
    slices = ["4 3 0,2:0,3", "4 3 2,2:0,3"]
    for part, (names, text) in enumerate(
        zip((sorted(tensors)[::2], sorted(tensors)[1::2]), slices, strict=True)
    ):
        tf.raw_ops.SaveV2(
            prefix=str(folder / f"part{part}"),
            tensor_names=[*names, "sliced"],
            shape_and_slices=[*[""] * len(names), text],
            tensors=[*[tensors[name] for name in names], tf.ones([2, 3])],
        )
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(folder / "part0"), str(folder / "part1")],
        destination_prefix=str(folder / "variables"),
    )
    return folder / "variables"


@pytest.fixture
def content(bundle: Path) -> bytes:
    return Path(f"{bundle}.index").read_bytes()


def test_index_equals_what_tensorflow_reads(bundle: Path, content: bytes) -> None:
    import tensorflow as tf

    index = parse_index(content)
    assert index.shards == 2
    names = {entry.name for entry in index.entries}
    assert names >= set(tf.train.load_checkpoint(str(bundle)).get_variable_to_shape_map())
    sizes = [bundle.with_name(shard_name(bundle.name, i, 2)).stat().st_size for i in range(2)]
    assert index.shard_sizes() == tuple(sizes)


def test_every_damaged_byte_is_noticed_or_changes_nothing(content: bytes) -> None:
    """Only in the padding of the footer is there a byte that says nothing."""
    whole = parse_index(content)
    unnoticed = 0
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0x5A
        try:
            assert parse_index(bytes(damaged)) == whole
            unnoticed += 1
        except ValueError:
            pass
    assert unnoticed < 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "its end is missing"),
        (lambda data: data[:-1], "its end is missing"),
        (lambda data: data[100:], "checksum|outside"),
        (lambda data: data + b"x", "its end is missing"),
        (lambda data: b"not a table at all" * 10, "no table"),
    ],
)
def test_a_damaged_index_is_named_so(
    content: bytes, change: Callable[[bytes], bytes], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        parse_index(change(content))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_index_or_a_value_error(data: bytes) -> None:
    magic = struct.pack("<Q", 0xDB4775248B80FB57)
    for candidate in (data, data.ljust(40, b"\0") + magic):
        with pytest.raises(ValueError, match=r"."):
            parse_index(candidate)


def test_checksum_is_the_standard_one() -> None:
    # RFC 3720, B.4
    assert crc32c.crc32c(b"123456789") == 0xE3069283
    assert crc32c.crc32c_in_python(bytes(32)) == 0x8A9136AA


@given(st.binary(max_size=300))
def test_checksums_with_and_without_the_package_are_equal(data: bytes) -> None:
    assert crc32c.crc32c(data) == crc32c.crc32c_in_python(data)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    import tensorflow as tf

    path = tmp_path_factory.mktemp("records") / "r.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in (b"first", b"", b"third" * 100):
            writer.write(record)
    return path.read_bytes()


def test_records_are_those_that_tensorflow_wrote(records: bytes) -> None:
    assert list(parse_records(records)) == [b"first", b"", b"third" * 100]
    assert list(parse_records(b"")) == []


def test_every_damaged_byte_of_a_record_is_noticed(records: bytes) -> None:
    for position in range(0, len(records), 3):
        damaged = bytearray(records)
        damaged[position] ^= 1
        with pytest.raises(ValueError, match=r"record [123]"):
            list(parse_records(bytes(damaged)))


def test_records_that_are_cut_off_are_noticed(records: bytes) -> None:
    ends = {0, 12 + 5 + 4, 12 + 5 + 4 + 16}
    for length in set(range(60)) - ends:
        with pytest.raises(ValueError, match="cut off"):
            list(parse_records(records[:length]))
