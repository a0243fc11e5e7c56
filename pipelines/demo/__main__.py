"""The command `python -m tfx_registry.pipelines.demo`."""

from pathlib import Path

import click

from tfx_registry.pipelines.demo.directory import (
    DemoDirectory,
    DirectoryRefusedError,
    fresh_directory,
)


@click.command()
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    default=Path("demo_output"),
    show_default=True,
    help="Where everything goes. What an earlier demo made there is deleted first.",
)
def main(output_dir: Path) -> None:
    """Train three penguin classifiers; register all, block the bad one, publish the others.

    Needs no network and takes about a minute on two cores. Ends with exit code 0 when everything
    came out as it must, 1 when a stage failed, 2 when the directory cannot be used.
    """
    try:
        with fresh_directory(output_dir) as directory:
            failure = _run(directory)
    except DirectoryRefusedError as error:
        raise click.UsageError(str(error)) from error
    if failure:
        raise click.ClickException(f"{failure}\nThe full log is in {directory.log}")


def _run(directory: DemoDirectory) -> str:
    """Runs the demo with its output kept apart from the libraries' output.

    Args:
        directory: The demo's directory.

    Returns:
        What failed, or an empty string.
    """
    # They import more than the option's check needs.
    from tfx_registry.pipelines.demo import console, progress, quiet, stages

    with quiet.output_to(directory.log) as stream:
        screen = console.open_console(stream)
        reporter = console.ConsoleReporter(screen)
        screen.print(f"The log of all libraries goes to {directory.log}", soft_wrap=True)
        try:
            result = stages.run_demo(directory, reporter)
        except progress.StageFailedError as error:
            return str(error)
        finally:
            reporter.stop()
        console.show_result(screen, directory, result)
    return ""


if __name__ == "__main__":
    main()
