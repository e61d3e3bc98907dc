"""Commands over a directory of studies: ``process``, ``plan``, ``report`` and ``demo``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import click

from milvue_async.batch.filters import Filters
from milvue_async.batch.pipeline import process_directory
from milvue_async.batch.planning import make_plan
from milvue_async.batch.run import RunLimits
from milvue_async.batch.sent import known_sources
from milvue_async.demo import demo_client, demo_files
from milvue_async.errors import ConfigurationError
from milvue_async.options import (
    NotDoneError,
    api_options,
    asynchronous,
    json_option,
    open_client,
    print_json,
    result_options,
    split,
)
from milvue_async.progress import RunProgress, event_json, printable

if TYPE_CHECKING:
    from milvue_async.batch.events import Event
    from milvue_async.batch.pipeline import RunSummary
    from milvue_async.batch.planning import Plan
    from milvue_async.client import MilvueClient

__all__ = ["demo", "plan", "process", "report"]

_MEGABYTE = 1e6
_LIMITS = RunLimits()
# On Windows there is no receiver: there the first one ends a run at once.
_SIGNALS = () if sys.platform == "win32" else (signal.SIGINT, signal.SIGTERM)


def _filter_options(command: Any) -> Any:
    for name, help_text in (
        ("--where-not", "Leave out instances that match; more than once: any of them."),
        (
            "--where",
            "Send only instances that match, as Modality=DX or PatientName~^A; all of them.",
        ),
    ):
        command = click.option(
            name, multiple=True, metavar="TAG=VALUE|TAG~PATTERN", help=help_text
        )(command)
    return command


def _resume_options(command: Any) -> Any:
    for name, help_text in (
        ("--send-changed", "Send studies that changed since they were sent; they may cost again."),
        ("--retry-failed", "Take up studies again that ended in error or were rejected."),
    ):
        command = click.option(name, is_flag=True, help=help_text)(command)
    return command


@click.command()
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("milvue-demo"), show_default=True
)
@asynchronous
async def demo(output: Path) -> None:
    """The whole job on real DICOM files against a simulated API; needs no account."""
    click.echo("A simulated API on this machine: its predictions mean nothing.", err=True)
    async with demo_files() as folder, demo_client() as client:
        with RunProgress(sys.stderr) as progress:
            summary = await process_directory(client, folder, output, on_event=progress)
        await _report_if_possible(output, "en")
    _finish(summary, output)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Results folder.")
@_filter_options
@click.option("--max-studies", type=click.IntRange(min=1), help="Take up so many in this run.")
@_resume_options
@click.option("--max-uploads", default=8, show_default=True, help="Uploads at once.")
@click.option("--max-downloads", default=8, show_default=True, help="Downloads at once.")
@click.option(
    "--max-in-flight",
    type=click.IntRange(min=1),
    default=_LIMITS.max_in_flight,
    show_default=True,
    help="Studies under way at once.",
)
@click.option(
    "--poll-rate",
    type=click.FloatRange(min=0.1),
    default=_LIMITS.poll_rate,
    show_default=True,
    help="Status questions a second, at most.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=_LIMITS.patience,
    show_default=True,
    help="Seconds to wait for a network that breaks.",
)
@click.option("--no-report", is_flag=True, help="Write no report.html.")
@result_options
@json_option
@api_options
@asynchronous
async def process(
    *,
    folder: Path,
    output: Path,
    where: tuple[str, ...],
    where_not: tuple[str, ...],
    max_studies: int | None,
    max_uploads: int,
    max_downloads: int,
    max_in_flight: int,
    poll_rate: float,
    patience: float,
    no_report: bool,
    api_url: str | None,
    token: str | None,
    as_json: bool,
    commands: str,
    **options: Any,
) -> None:
    r"""Predict every study below DIR; run it again to go on where it stopped.

    \b
    export MILVUE_API_URL=https://...  MILVUE_API_TOKEN=...
    milvue-async plan DIR                    what would be sent, and what not
    milvue-async process DIR --output OUT    open OUT/report.html in the end

    DIR may hold files of any name, and zip archives. Ctrl-C ends the run within seconds and
    leaves what is not done to the next run; twice: at once. Exit codes: 0 every study done, 1
    some study not done, 2 usage or configuration, 130 interrupted.
    """
    filters = Filters.parse(where, where_not)
    limits = RunLimits(
        max_in_flight=max_in_flight,
        max_studies=max_studies,
        poll_rate=poll_rate,
        patience=patience,
    )
    client = open_client(api_url, token, max_uploads=max_uploads, max_downloads=max_downloads)
    with RunProgress(sys.stderr) as progress:

        def tell(event: Event) -> None:
            progress(event)
            if as_json:
                print_json(event_json(event))

        summary = await _process(
            client,
            folder,
            output,
            filters=filters,
            limits=limits,
            on_event=tell,
            commands=split(commands),
            **options,
        )
    if not no_report and not summary.is_interrupted:
        await _report_if_possible(output, options.get("language") or "en")
    _finish(summary, output)


async def _process(client: MilvueClient, folder: Path, output: Path, **options: Any) -> RunSummary:
    """A run that ends early at the first signal, and at once at the second.

    Raises:
        KeyboardInterrupt: It ended at once.
    """
    stop = anyio.Event()
    async with client, anyio.create_task_group() as group:
        if _SIGNALS:
            group.start_soon(_end_on_signals, stop, group.cancel_scope)
        summary = await process_directory(client, folder, output, stop=stop, **options)
        group.cancel_scope.cancel()
        return summary
    raise KeyboardInterrupt


async def _end_on_signals(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(*_SIGNALS) as signals:
        async for _ in signals:
            if stop.is_set():
                scope.cancel()
                return
            click.echo("milvue-async: ending; once more to end at once", err=True)
            stop.set()


async def _report_if_possible(output: Path, language: str) -> None:
    """The page is no part of the job: without its extra the run is as good."""
    try:
        await _report(output, language)
    except ConfigurationError as error:
        click.echo(f"milvue-async: no report.html: {error}", err=True)


async def _report(output: Path, language: str) -> Path:
    from milvue_async.report import build_report  # noqa: PLC0415  an extra

    def build() -> Path:
        with known_sources(output) as sources:
            return build_report(output, sources, language=language)

    return await anyio.to_thread.run_sync(build)


def _finish(summary: RunSummary, output: Path) -> None:
    counts = [f"{count} {outcome}" for outcome, count in sorted(summary.outcomes.items())]
    if summary.already_done:
        counts.append(f"{summary.already_done} of them before")
    click.echo(f"{', '.join(counts) or 'no studies'}; results in {output}", err=True)
    if summary.is_interrupted:
        click.echo("milvue-async: interrupted: the same command goes on from here", err=True)
        raise KeyboardInterrupt
    if not summary.is_complete or not summary.outcomes:
        raise NotDoneError


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Results folder of the run.")
@_filter_options
@_resume_options
@result_options
@json_option
@click.option("--api-url", help="Root of the API; MILVUE_API_URL.")
@asynchronous
async def plan(
    *,
    folder: Path,
    output: Path | None,
    where: tuple[str, ...],
    where_not: tuple[str, ...],
    as_json: bool,
    commands: str,
    **options: Any,
) -> None:
    """Say what `process` would send, what not and why, and how much; sends nothing."""
    made = await make_plan(
        folder,
        output,
        filters=Filters.parse(where, where_not),
        commands=split(commands),
        **options,
    )
    if as_json:
        print_json(made.as_json())
    else:
        _print_plan(made)


def _print_plan(made: Plan) -> None:
    for study in made.studies:
        size = f"{study.bytes / _MEGABYTE:.1f} MB"
        reason = f": {study.reason}" if study.reason else ""
        click.echo(f"{study.action:8} {study.study_instance_uid} "
                   f"{study.instances} files {size}{reason}")  # fmt: skip
    for file in made.set_aside:
        click.echo(
            printable(f"{'filtered' if file.is_filtered else 'aside':8} {file.path}: {file.reason}")
        )
    click.echo(made.summary(), err=True)


@click.command()
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--language", default="en", show_default=True, help="fr, en, es, de, it or pt.")
@asynchronous
async def report(output: Path, language: str) -> None:
    """Write the page report.html of a results folder again."""
    path = await _report(output, language)
    click.echo(path)
