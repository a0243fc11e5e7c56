"""Runs the penguin pipeline with Beam as the orchestrator.

Example: `python -m tfx_registry.pipelines.beam_runner --output-dir penguin_output`
"""

import click

from tfx_registry.pipelines.options import (
    IN_MEMORY_RUNNER,
    RunOptions,
    build_pipeline,
    run_options,
)


@click.command()
@run_options
def main(options: RunOptions) -> None:
    """Run the penguin pipeline with TFX's BeamDagRunner."""
    pipeline = build_pipeline(options)
    from apache_beam.options.pipeline_options import StandardOptions
    from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner

    # BeamDagRunner gives the Beam pipeline that it orchestrates with no options at all, and Beam's
    # own default would look for another runner on the network first.
    StandardOptions.DEFAULT_RUNNER = IN_MEMORY_RUNNER
    BeamDagRunner().run(pipeline)


if __name__ == "__main__":
    main()
