"""The gate's evaluation by workers that are processes: on Dask, portable, and Beam's own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import tensorflow_model_analysis as tfma
from apache_beam.pvalue import AsSingleton, TaggedOutput
from google.protobuf import text_format

from tfx_registry.components.dask_workers import DaskWorkersRunner
from tfx_registry.errors import InvalidInputError
from tfx_registry.records import Verdict
from tfx_registry.testing.beam_workers import DaskCluster, PortableRunner
from tfx_registry.testing.outgoing import asked_for, watched
from tfx_registry.testing.process import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CONFIG = """
    model_specs { label_key: "label" }
    metrics_specs {
      metrics { class_name: "BinaryAccuracy" }
      metrics { class_name: "AUC" }
      metrics { class_name: "ExampleCount" }
    }
    slicing_specs {}
    slicing_specs { feature_keys: "age" }
"""
COUNT = "example_count"
MULTI_PROCESSING = [
    "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "--direct_running_mode=multi_processing",
    "--direct_num_workers=2",
]
BEAMS_OWN = "--runner=apache_beam.runners.dask.dask_runner.DaskRunner"


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskCluster]:
    with DaskCluster(workers=2) as started:
        yield started


def numbers(evaluation: Path) -> dict[tuple[str, Any, str], float]:
    """Returns each number of an evaluation by model, slice and metric."""
    found = {}
    for model in ("candidate", "baseline"):
        result = tfma.load_eval_result(str(evaluation), model_name=model)
        for key, by_output in result.slicing_metrics:
            for metric, value in by_output[""][""].items():
                found[model, key, metric] = value["doubleValue"]
    return found


@pytest.fixture(params=["dask", "portable", "multi_processing"])
def beam_args(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """What makes a component compute by workers."""
    if request.param == "dask":
        yield request.getfixturevalue("cluster").beam_args
    elif request.param == "portable":
        with PortableRunner() as portable:
            yield portable.beam_args
    else:
        yield MULTI_PROCESSING


def test_the_same_numbers_and_the_same_decision_as_in_memory(
    pipeline: Any, evaluated: Any, examples: Any, beam_args: list[str]
) -> None:
    served = pipeline.register(evaluated.good)
    pipeline.gate(served, evaluated.good, evaluated.good_alone)
    pipeline.promote(served, evaluated.good)
    version = pipeline.register(evaluated.bad)
    arguments = {
        "eval_config": text_format.Parse(CONFIG, tfma.EvalConfig()),
        "examples": examples,
    }
    _, here = pipeline.evaluate_and_gate(version, evaluated.bad, **arguments)
    expected = numbers(pipeline.evaluation)
    assert len(expected) == 2 * 3 * 3 + 3 * 3, "two models, three slices, and the differences"
    assert expected["candidate", (("age", "old"),), COUNT] == 20
    _, there = pipeline.evaluate_and_gate(version, evaluated.bad, beam_args=beam_args, **arguments)
    found = numbers(pipeline.evaluation)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
    for key, value in expected.items():
        assert key[2] != COUNT or found[key] == value
    assert there.verdict is here.verdict is Verdict.BLOCKED
    assert there.reasons == here.reasons


def note(folder: Path) -> Any:
    """Returns a function that writes each element to a file of the process that saw it."""

    def write(element: Any) -> Any:
        with (folder / f"{os.getppid()}-{os.getpid()}").open("a", encoding="utf-8") as file:
            file.write(f"{element}\n")
        return element

    return write


def elements_in(folder: Path) -> list[str]:
    return sorted(line for file in folder.iterdir() for line in file.read_text().splitlines())


def test_all_of_a_pipeline_is_computed_and_all_workers_take_part(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    folders = {name: tmp_path / name for name in ("all", "odd", "even", "counts")}
    for folder in folders.values():
        folder.mkdir()

    def split(number: int) -> Iterator[Any]:
        yield TaggedOutput("odd" if number % 2 else "even", number)

    with beam.Pipeline(argv=cluster.beam_args) as pipeline:
        ten = pipeline | "Ten" >> beam.Create([10])
        numbers = pipeline | beam.Create(range(8)) | beam.Reshuffle()
        more = numbers | "Add" >> beam.Map(lambda x, y: x + y, AsSingleton(ten))
        _ = more | "WriteAll" >> beam.Map(note(folders["all"]))
        parts = numbers | beam.FlatMap(split).with_outputs("odd", "even")
        _ = parts.odd | "WriteOdd" >> beam.Map(note(folders["odd"]))
        _ = parts.even | "WriteEven" >> beam.Map(note(folders["even"]))
        _ = (
            numbers
            | beam.Map(lambda x: ("odd" if x % 2 else "even", 1))
            | beam.CombinePerKey(sum)
            | "WriteCounts" >> beam.Map(note(folders["counts"]))
        )
    assert elements_in(folders["all"]) == [str(x) for x in range(10, 18)]
    assert elements_in(folders["odd"]) == ["1", "3", "5", "7"]
    assert elements_in(folders["even"]) == ["0", "2", "4", "6"]
    assert elements_in(folders["counts"]) == ["('even', 4)", "('odd', 4)"]
    parents = {int(file.name.partition("-")[0]) for file in folders["all"].iterdir()}
    assert parents == set(_pids(cluster).values()), "both Dask workers started one that worked"


def test_processes_of_this_machine_take_part_and_nothing_is_asked_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, folder = tmp_path / "watch", tmp_path / "all"
    folder.mkdir()
    # The workers get their environment from this process.
    monkeypatch.setenv("PYTHONPATH", watched(watch, os.environ)["PYTHONPATH"])
    with beam.Pipeline(argv=MULTI_PROCESSING) as pipeline:
        numbers = pipeline | beam.Create(range(8)) | beam.Reshuffle()
        _ = numbers | beam.Map(note(folder))
    assert elements_in(folder) == [str(x) for x in range(8)]
    workers = {int(file.name.partition("-")[2]) for file in folder.iterdir()}
    assert len(workers) == 2
    assert os.getpid() not in workers
    assert asked_for(watch) == []


def _pids(cluster: DaskCluster) -> dict[str, int]:
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        return dict(client.run(os.getpid))


# Functions inside of functions: a worker gets these as they are, and cannot import this file.


def test_a_worker_that_dies_fails_the_run_and_says_where(cluster: DaskCluster) -> None:
    def die(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with (
        pytest.raises(RuntimeError, match=r"worker_\d+ on the Dask worker tcp://.* was lost.*-9"),
        beam.Pipeline(argv=[*cluster.beam_args, "--dask_num_workers=1"]) as pipeline,
    ):
        _ = pipeline | beam.Create([1]) | beam.Map(die)


def test_a_machine_that_dies_fails_the_run_and_says_where(tmp_path: Path) -> None:
    stop = tmp_path / "stop"

    def end_the_dask_worker(_: Any) -> None:
        os.kill(os.getppid(), signal.SIGKILL)
        # The work itself would go on, for longer than anybody has to wait for the error.
        deadline = time.monotonic() + 120
        while not stop.exists() and time.monotonic() < deadline:
            time.sleep(0.1)

    with DaskCluster(workers=1) as cluster:
        (address,) = _pids(cluster)
        with (
            pytest.raises(RuntimeError, match="Dask worker is gone") as caught,
            beam.Pipeline(argv=cluster.beam_args) as pipeline,
        ):
            _ = pipeline | beam.Create([1]) | beam.Map(end_the_dask_worker)
        stop.touch()
    assert address in str(caught.value)


@pytest.mark.parametrize("given", [[], [f"--dask_client_address=tcp://127.0.0.1:{free_port()}"]])
def test_without_a_cluster_the_error_says_what_to_give(given: list[str]) -> None:
    runner = f"--runner={DaskWorkersRunner.__module__}.{DaskWorkersRunner.__qualname__}"
    with (
        pytest.raises(InvalidInputError, match="--dask_client_address"),
        beam.Pipeline(argv=[runner, "--dask_connection_timeout=1", *given]) as pipeline,
    ):
        _ = pipeline | beam.Create([1])


def test_a_cluster_without_workers() -> None:
    with (
        DaskCluster(workers=0) as empty,
        pytest.raises(InvalidInputError, match="has no workers"),
        beam.Pipeline(argv=empty.beam_args) as pipeline,
    ):
        _ = pipeline | beam.Create([1])


def test_beams_own_dask_runner_is_refused_by_the_gate(
    pipeline: Any, evaluated: Any, examples: Any
) -> None:
    version = pipeline.register(evaluated.good)
    with pytest.raises(InvalidInputError, match="use --runner=tfx_registry"):
        pipeline.evaluate_and_gate(
            version,
            evaluated.good,
            eval_config=text_format.Parse(CONFIG, tfma.EvalConfig()),
            examples=examples,
            beam_args=[BEAMS_OWN],
        )


def test_what_is_refused_beams_own_dask_runner_for(cluster: DaskCluster, tmp_path: Path) -> None:
    """If this fails, Beam's runner can more than it could: look whether it can run TFMA."""
    from distributed import default_client

    args = [BEAMS_OWN, f"--dask_client_address={cluster.address}"]
    source = beam.Pipeline(argv=args)
    _ = source | beam.Impulse() | beam.Map(str)
    with pytest.raises(AttributeError, match="NoneType"):
        source.run()
    default_client().close()
    for name in ("first", "last"):
        (tmp_path / name).mkdir()
    with beam.Pipeline(argv=args) as pipeline:
        numbers = pipeline | beam.Create([1, 2])
        for name in ("first", "last"):
            _ = numbers | name >> beam.Map(note(tmp_path / name))
    default_client().close()
    assert elements_in(tmp_path / "last") == ["1", "2"]
    assert elements_in(tmp_path / "first") == []
