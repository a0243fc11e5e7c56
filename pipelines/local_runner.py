"""Runs the penguin pipeline in this process, one component after the other.

Example: `python -m tfx_registry.pipelines.local_runner --output-dir penguin_output`
"""

import click

from tfx_registry.pipelines.options import RunOptions, build_pipeline, run_options


@click.command()
@run_options
def main(options: RunOptions) -> None:
    """Run the penguin pipeline with TFX's LocalDagRunner."""
    pipeline = build_pipeline(options)
    from tfx import v1 as tfx

    tfx.orchestration.LocalDagRunner().run(pipeline)


if __name__ == "__main__":
    main()
