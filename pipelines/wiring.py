"""What the example pipelines have in common before their own part: the data and its schema."""

from typing import Any, NamedTuple

from tfx import v1 as tfx

from tfx_registry.pipelines.csv_files import EVAL_SPLIT, TRAIN_SPLIT

__all__ = ["Data", "push_destination", "read_csv"]


class Data(NamedTuple):
    """The components that read the raw data, in the order in which they run.

    Attributes:
        example_gen: Reads the files of each split.
        statistics_gen: What the schema is made of.
        schema_gen: The schema.
    """

    example_gen: Any
    statistics_gen: Any
    schema_gen: Any


def read_csv(data_root: str) -> Data:
    """Makes the components that read CSV files.

    Args:
        data_root: A folder with `train/*.csv` and `eval/*.csv`, see `csv_files.write_splits`.

    Returns:
        The components.
    """
    split = tfx.proto.Input.Split
    splits = [split(name=name, pattern=f"{name}/*.csv") for name in (TRAIN_SPLIT, EVAL_SPLIT)]
    example_gen = tfx.components.CsvExampleGen(
        input_base=data_root, input_config=tfx.proto.Input(splits=splits)
    )
    statistics_gen = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = tfx.components.SchemaGen(statistics=statistics_gen.outputs["statistics"])
    return Data(example_gen, statistics_gen, schema_gen)


def push_destination(serving_dir: str) -> tfx.proto.PushDestination:
    """Says where Promoter publishes, as Pusher is told.

    Args:
        serving_dir: The base directory that TensorFlow Serving watches for the model.

    Returns:
        The message.
    """
    return tfx.proto.PushDestination(
        filesystem=tfx.proto.PushDestination.Filesystem(base_directory=serving_dir)
    )
