"""Shows the demo to a person: progress on a terminal, plain lines in a pipe, tables at the end."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from tfx_registry.cli.narrow_table import fits, narrow_table
from tfx_registry.pipelines.demo.directory import DemoDirectory
from tfx_registry.pipelines.demo.progress import StageTime
from tfx_registry.pipelines.demo.stages import (
    ALIAS,
    MODEL_NAME,
    DemoResult,
    Prediction,
)
from tfx_registry.pipelines.penguin.policy import ACCURACY, CROSS_ENTROPY
from tfx_registry.records import (
    Verdict,
    Version,
    VersionState,
    format_slice,
)

_PLAIN_WIDTH = 140
_SHOWN_COMPONENTS = 3
_VERSION_COLUMNS = (
    "version",
    "state",
    "accuracy",
    "worst slice",
    "loss",
    "against",
    "by",
    "when (UTC)",
)
_STYLES = {
    VersionState.SERVING: "bold green",
    VersionState.PASSED: "green",
    VersionState.BLOCKED: "bold red",
    VersionState.REGISTERED: "yellow",
}


def open_console(stream: IO[str]) -> Console:
    """Returns a console on a stream; colours and moving parts only if it is a terminal."""
    if not stream.isatty():
        return Console(file=stream, width=_PLAIN_WIDTH, highlight=False)
    # rich would ask the process's own standard output, which is a file by now.
    columns, lines = os.get_terminal_size(stream.fileno())
    # Terminals of containers may not know their size, and say 0.
    return Console(file=stream, width=columns or 80, height=lines or 25, highlight=False)


class ConsoleReporter:
    """Tells a person how far the demo is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._title = ""

    def started(self, title: str) -> None:
        """Announces a stage: with a spinner, or with a line."""
        self._title = title
        if not self._console.is_terminal:
            self._console.print(f"{escape(title)} ...", soft_wrap=True)
            return
        # Left to itself, rich would bring to the terminal what libraries print meanwhile.
        self._live = Live(
            Spinner("dots", f"{escape(title)} ..."),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def component(self, name: str) -> None:
        """Shows the running component beside the spinner."""
        if self._live is not None:
            self._live.update(Spinner("dots", f"{escape(self._title)}: {escape(name)} ..."))

    def finished(self, stage: StageTime, outcome: str) -> None:
        """Replaces the spinner by a line that stays."""
        self.stop()
        mark = "[green]done[/green]"
        text = f"{mark} {escape(stage.title)} ({stage.seconds:.1f} s)"
        self._console.print(text, soft_wrap=True)
        if outcome:
            self._console.print(f"     {escape(outcome)}", soft_wrap=True)

    def stop(self) -> None:
        """Takes the spinner away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def show_result(console: Console, directory: DemoDirectory, result: DemoResult) -> None:
    """Prints what there is to see after the demo.

    Args:
        console: Where to print.
        directory: The demo's directory.
        result: What the demo made.
    """
    show_versions(console, result.versions)
    console.print(f"\nServing directory {result.serving_dir}: versions {_listed(result.published)}")
    _show_prediction(console, result.prediction)
    console.print()
    console.print(_times_table(result.times))
    console.print("\nTry next:")
    activate = _activation()
    if activate:
        console.print(f"  {escape(activate)}", soft_wrap=True)
    for command in _next_commands(directory):
        console.print(f"  {escape(command)}", soft_wrap=True)
    console.print(f"\nFull log: {directory.log}", soft_wrap=True)


def show_versions(console: Console, versions: Sequence[Version]) -> None:
    """Prints what became of each version, and why some were blocked.

    Args:
        console: Where to print.
        versions: The versions, oldest first.
    """
    console.print()
    header, rows = list(_VERSION_COLUMNS), [_version_row(version) for version in versions]
    if fits(header, rows, console.width):
        table = _table(f"Versions of {MODEL_NAME}")
        for name in header:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        # Who and when go below the row together, what became of the version stays in it.
        header[-2:] = [", ".join(header[-2:])]
        rows = [[*row[:-2], ", ".join(row[-2:])] for row in rows]
        console.print(f"[italic]Versions of {MODEL_NAME}[/]", end="")
        for line in narrow_table(header, rows, console):
            console.print(line, soft_wrap=True)
    for version in versions:
        _show_reasons(console, version)


def _version_row(version: Version) -> list[str]:
    baseline = version.decision.baseline if version.decision else None
    state = version.state.value + "".join(f", @{alias}" for alias in version.aliases)
    return [
        str(version.number),
        f"[{_STYLES[version.state]}]{escape(state)}[/]",
        _number(version.metric(ACCURACY)),
        _worst_slice(version),
        _number(version.metric(CROSS_ENTROPY)),
        str(baseline) if baseline else "-",
        escape(version.actor),
        version.time[:16].replace("T", " "),
    ]


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _worst_slice(version: Version) -> str:
    """Returns the slice with the lowest accuracy, and the accuracy."""
    slices = [metric for metric in version.metrics if metric.name == ACCURACY and metric.slice]
    if not slices:
        return "-"
    worst = min(slices, key=lambda metric: metric.value)
    equal = all(metric.value == worst.value for metric in slices)
    return f"{_number(worst.value)} {'every slice' if equal else escape(format_slice(worst.slice))}"


def _show_reasons(console: Console, version: Version) -> None:
    decision = version.decision
    if decision is None or decision.verdict is not Verdict.BLOCKED:
        return
    console.print(f"\nWhy version {version.number} was blocked, and nothing of it published:")
    for reason in decision.reasons:
        console.print(f"  - {escape(reason)}", soft_wrap=True)


def _show_prediction(console: Console, prediction: Prediction) -> None:
    penguin = prediction.penguin
    scores = ", ".join(f"{name} {score:.1%}" for name, score in prediction.scores.items())
    console.print(
        f"The model in {prediction.model_dir} on a penguin it has not seen "
        f"(bill {penguin['bill_length_mm']} x {penguin['bill_depth_mm']} mm, "
        f"flipper {penguin['flipper_length_mm']} mm, {penguin['body_mass_g']} g):",
        soft_wrap=True,
    )
    console.print(f"  {prediction.species} ({scores}); it is a {penguin['species']}")


def _times_table(times: Sequence[StageTime]) -> Table:
    table = _table("Time")
    table.add_column("stage", overflow="fold")
    table.add_column("seconds", justify="right")
    table.add_column("most of it", overflow="fold")
    for stage in times:
        slowest = sorted(stage.components, key=lambda item: -item[1])[:_SHOWN_COMPONENTS]
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in slowest)
        table.add_row(escape(stage.title), f"{stage.seconds:.1f}", escape(parts))
    table.add_section()
    table.add_row("all", f"{sum(stage.seconds for stage in times):.1f}", "")
    return table


def _next_commands(directory: DemoDirectory) -> list[str]:
    registry = f"tfx-registry --registry {shlex.quote(directory.registry_uri)}"
    return [
        f"{registry} versions {MODEL_NAME}",
        f"{registry} history {MODEL_NAME}",
        f"{registry} show {MODEL_NAME}@{ALIAS}",
        f"{registry} show {MODEL_NAME}:2",
        f"{registry} --json versions {MODEL_NAME}",
    ]


def _activation() -> str:
    """Returns what puts the command on the PATH; "" when it is there."""
    if shutil.which("tfx-registry") or not Path(sys.prefix, "bin", "activate").exists():
        return ""
    script = Path(sys.prefix, "bin", "activate")
    shown = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script
    return f"source {shlex.quote(str(shown))}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _listed(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, numbers))
