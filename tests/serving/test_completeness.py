"""SavedModels written by TensorFlow, damaged in each way that a server would stumble over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tfx_registry.digest import digest_path
from tfx_registry.errors import InvalidModelError
from tfx_registry.saved_model import parse_message
from tfx_registry.serving import ServingDirectory, check_servable
from tfx_registry.serving.completeness import MOST_WARMUP_RECORDS, WARMUP_FILE

DATA = "variables/variables.data-00000-of-00001"
INDEX = "variables/variables.index"


@pytest.fixture
def model(saved_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved_model, tmp_path / "model"))


def write_warmup(model: Path, *logs: object) -> Path:
    """Writes warm-up requests; each is a serialized message or one of TensorFlow Serving."""
    import tensorflow as tf

    path = model / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log if isinstance(log, bytes) else log.SerializeToString())
    return path


def predict_log(signature: str = "serving_default") -> object:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "triple"
    request.model_spec.signature_name = signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([[1.0, 2.0]]))
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )


def test_a_whole_model_may_be_published(model: Path) -> None:
    check_servable(model)
    write_warmup(model, *[predict_log(), predict_log("")] * (MOST_WARMUP_RECORDS // 2))
    check_servable(model)


def cut(name: str, length: int) -> Callable[[Path], None]:
    return lambda model: os.truncate(model / name, length)


def remove(name: str) -> Callable[[Path], None]:
    return lambda model: (model / name).unlink()


def replace(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda model: (model / name).write_bytes(content) and None


def flip(name: str, position: int) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        content = bytearray((model / name).read_bytes())
        content[position] ^= 0xFF
        (model / name).write_bytes(content)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("saved_model.pb"), "not a SavedModel"),
        (cut("saved_model.pb", 0), "no graph|none at all"),
        (cut("saved_model.pb", 1000), "saved_model.pb is not what TensorFlow writes"),
        (replace("saved_model.pb", b"\xff" * 50), "saved_model.pb is not what TensorFlow writes"),
        (remove(INDEX), "would load it uninitialised"),
        (lambda model: shutil.rmtree(model / "variables"), "would load it uninitialised"),
        (cut(INDEX, 0), "index cannot be read: it is no table, or its end is missing"),
        (cut(INDEX, 60), "index cannot be read"),
        (flip(INDEX, 5), "index cannot be read.*checksum"),
        (remove(DATA), "data-00000-of-00001 is missing"),
        (cut(DATA, 0), "has 0 bytes, and by its index it needs"),
        (cut(DATA, 3), "has 3 bytes, and by its index it needs"),
        (remove("assets/words.txt"), "asset 'assets/words.txt' is missing"),
        (lambda model: shutil.rmtree(model / "assets"), "asset 'assets/words.txt' is missing"),
    ],
)
def test_a_model_that_lacks_something_is_refused(
    model: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(model)
    with pytest.raises(InvalidModelError, match=message) as caught:
        check_servable(model)
    assert str(model) in caught.value.what
    assert caught.value.todo
    # And a publish refuses it, too, without a trace.
    digest = digest_path(model)
    with (
        ServingDirectory.lock(tmp_path / "serving") as directory,
        pytest.raises(InvalidModelError, match=message),
    ):
        directory.publish(model, 1, owner="triple", digest=digest.root, manifest=digest.manifest)
    assert [p.name for p in (tmp_path / "serving").iterdir()] == [".tfx_registry"]


def test_one_of_several_data_files_must_not_be_missing(model: Path) -> None:
    import tensorflow as tf

    prefix = str(model / "variables" / "part")
    for part in range(2):
        tf.raw_ops.SaveV2(
            prefix=f"{prefix}{part}",
            tensor_names=[f"t{part}"],
            shape_and_slices=[""],
            tensors=[tf.ones([100])],
        )
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[f"{prefix}0", f"{prefix}1"],
        destination_prefix=str(model / "variables" / "variables"),
    )
    check_servable(model)
    second = model / "variables" / "variables.data-00001-of-00002"
    os.truncate(second, 399)
    with pytest.raises(InvalidModelError, match=r"00001-of-00002 has 399 bytes, .* needs 400"):
        check_servable(model)
    second.unlink()
    with pytest.raises(InvalidModelError, match="00001-of-00002 is missing"):
        check_servable(model)


def test_a_model_without_variables_needs_no_index(tmp_path: Path) -> None:
    """As TensorFlow 1 wrote them."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        signature = v1.saved_model.signature_def_utils.predict_signature_def({"x": x}, {"y": 2 * x})
        builder = v1.saved_model.Builder(str(tmp_path / "constant"))
        builder.add_meta_graph_and_variables(
            session, ["serve"], signature_def_map={"serving_default": signature}
        )
        builder.save()
    assert not (tmp_path / "constant" / INDEX).exists()
    check_servable(tmp_path / "constant")


@pytest.mark.parametrize("tags", [["train"], ["serve", "gpu"], []])
def test_a_graph_with_other_tags_is_refused(tmp_path: Path, tags: list[str]) -> None:
    message = parse_message("WholeSavedModel", b"")
    message.meta_graphs.add().info.tags.extend(tag.encode() for tag in tags)
    (tmp_path / "saved_model.pb").write_bytes(message.SerializeToString())
    with pytest.raises(InvalidModelError, match="tagged just 'serve'"):
        check_servable(tmp_path)


@pytest.mark.parametrize("name", ["../words.txt", "/etc/passwd", "a/../../b", ""])
def test_an_asset_outside_of_the_model_is_refused(model: Path, name: str) -> None:
    content = (model / "saved_model.pb").read_bytes()
    message = parse_message("WholeSavedModel", content)
    message.meta_graphs[0].assets[0].filename = name.encode()
    (model / "saved_model.pb").write_bytes(message.SerializeToString())
    with pytest.raises(InvalidModelError, match="lies outside of it"):
        check_servable(model)


def test_warmup_requests_that_fail_a_load_are_refused(model: Path) -> None:
    from tensorflow_serving.apis import prediction_log_pb2 as logs

    def refused(message: str) -> None:
        with pytest.raises(InvalidModelError, match=message) as caught:
            check_servable(model)
        assert "or leave it out" in caught.value.todo

    write_warmup(model, *[predict_log()] * (MOST_WARMUP_RECORDS + 1))
    refused("more than 1000 records")
    path = write_warmup(model, predict_log(), predict_log())
    os.truncate(path, path.stat().st_size - 1)
    refused("record 2 is cut off")
    write_warmup(model, predict_log(), b"\xff\xff\xff")
    refused("record 2 is no PredictionLog")
    write_warmup(model, predict_log("other"))
    refused("record 1 asks for the signature 'other', and the model has serving_default")
    session = logs.PredictionLog(session_run_log=logs.SessionRunLog())
    write_warmup(model, session)
    refused("SessionRunLog")
    several = logs.PredictionLog()
    several.multi_inference_log.request.tasks.add().model_spec.signature_name = "third"
    write_warmup(model, several)
    refused("the signature 'third'")
    path.write_bytes(b"no records at all")
    refused("checksum of the length of record 1")
    path.unlink()
    path.mkdir()
    refused("Is a directory")


def test_a_path_that_is_no_directory_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for name in ("file", "nowhere", "file/below"):
        with pytest.raises(InvalidModelError, match="is not there"):
            check_servable(tmp_path / name)
