"""The command line: the only place that prints and chooses exit codes.

0: every study done. 1: some study not done. 2: usage or configuration. 130: interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import click

import milvue_async
from milvue_async.batch.outputs import manifest_entry
from milvue_async.batch.pipeline import process_directory
from milvue_async.client import MilvueClient
from milvue_async.demo import demo_client, demo_files
from milvue_async.errors import ConfigurationError, InvalidUIDError, MilvueError
from milvue_async.progress import RunProgress, printable
from milvue_async.protocol.uids import validate_uid
from milvue_async.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from milvue_async.batch.pipeline import RunSummary
    from milvue_async.outcomes import StudyOutcome

__all__ = ["run"]

OK, NOT_DONE, USAGE, INTERRUPTED = 0, 1, 2, 130

_DEFAULT_COMMANDS = "smarturgences,smartxpert"
_RETRIEVE_OPTIONS = {
    "language": "Language of texts: fr, en, es, de, it or pt.",
    "output_format": "overlay, highbit or gsps.",
    "output_selection": "all, no_recap, no_negatives or none.",
    "recap_theme": "dark or light.",
    "structured_report_format": "lite, normal, full or none.",
    "static_report_format": "rgb, pdf or none.",
    "timezone": "Time zone of times in the results.",
}
_STORE_OPTIONS = {
    "organization_id": "organizationId of the upload.",
    "site_id": "siteId of the upload.",
    "analysis_id": "analysisId of the upload.",
}


class _NotDoneError(Exception):
    """Something that was asked for did not end well; it has been printed."""


def run(arguments: Sequence[str]) -> int:
    """Run a command line.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit code.
    """
    is_debug = "--debug" in arguments
    try:
        cli(list(arguments), prog_name="milvue-async", standalone_mode=False)
    except _NotDoneError:
        return NOT_DONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        error.show()
        return USAGE
    except (KeyboardInterrupt, click.Abort):
        click.echo("milvue-async: interrupted", err=True)
        return INTERRUPTED
    except (MilvueError, OSError, ImportError) as error:
        return _report(error, is_debug=is_debug)
    return OK


def _report(error: MilvueError | OSError | ImportError, *, is_debug: bool) -> int:
    if is_debug:
        traceback.print_exception(error)
    line = str(error)
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        line = f"{error.strerror or type(error).__name__}{where}"
    click.echo(f"milvue-async: {printable(line)}", err=True)
    is_usage = isinstance(error, ConfigurationError | InvalidUIDError | ImportError)
    return USAGE if is_usage else NOT_DONE


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(milvue_async.__version__, prog_name="milvue-async")
@click.option("--debug", is_flag=True, help="Log what happens, and show tracebacks.")
def cli(*, debug: bool) -> None:
    """Send X-ray studies to the Milvue AI API v3 and bring the predictions back.

    The API's root and key are read from MILVUE_API_URL and MILVUE_API_TOKEN.
    Try it without an account: milvue-async demo
    """
    if debug:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)


def _api_options(command: Any) -> Any:
    """Where the API is; options win over the environment."""
    for name, help_text in (
        ("--token", "API key. MILVUE_API_TOKEN does not show in the process list."),
        ("--api-url", "Root of the API; MILVUE_API_URL."),
    ):
        command = click.option(name, help=help_text)(command)
    return command


def _result_options(command: Any) -> Any:
    for name, help_text in reversed((_RETRIEVE_OPTIONS | _STORE_OPTIONS).items()):
        command = click.option(f"--{name.replace('_', '-')}", help=help_text)(command)
    command = _transfer_option(command)
    for name, default, help_text in (
        ("--timeout", 600.0, "Seconds that one prediction may take."),
        ("--commands", _DEFAULT_COMMANDS, "Inference commands, with commas between."),
    ):
        command = click.option(name, default=default, show_default=True, help=help_text)(command)
    return command


def _transfer_option(command: Any) -> Any:
    return click.option(
        "--transfer",
        type=click.Choice(["dicomweb", "signed_url"]),
        default="dicomweb",
        show_default=True,
        help="STOW and WADO, or object storage.",
    )(command)


def _json_option(command: Any) -> Any:
    return click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")(command)


def _asynchronous(command: Callable[..., Awaitable[None]]) -> Any:
    """Run a coroutine function as a command."""

    @functools.wraps(command)
    def run_command(**options: Any) -> None:
        with _groups_of_one():
            anyio.run(functools.partial(command, **options))

    return run_command


@contextlib.contextmanager
def _groups_of_one() -> Any:
    """Unwrap what task groups wrap."""
    try:
        yield
    except BaseExceptionGroup as group:
        inner: BaseException = group
        while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
            inner = inner.exceptions[0]
    else:
        return
    raise inner


def _client(api_url: str | None, token: str | None, **options: Any) -> MilvueClient:
    client = MilvueClient.from_env(api_url=api_url, token=token, **options)
    if client.settings.sends_in_clear:
        click.echo(
            "milvue-async: warning: http:// sends the key and the images unencrypted", err=True
        )
    return client


def _split(commands: str) -> list[str]:
    return [name.strip() for name in commands.split(",") if name.strip()]


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


@cli.command()
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("milvue-demo"), show_default=True
)
@_asynchronous
async def demo(output: Path) -> None:
    """The whole job on real DICOM files against a simulated API; needs no account."""
    click.echo("A simulated API on this machine: its predictions mean nothing.", err=True)
    async with demo_files() as folder, demo_client() as client:
        with RunProgress(sys.stderr) as progress:
            summary = await _process(client, progress, folder, output)
    _finish(summary, output)


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Results folder.")
@click.option("--max-uploads", default=8, show_default=True, help="Uploads at once.")
@_result_options
@_json_option
@_api_options
@_asynchronous
async def process(
    *,
    folder: Path,
    output: Path,
    max_uploads: int,
    api_url: str | None,
    token: str | None,
    as_json: bool,
    commands: str,
    **options: Any,
) -> None:
    """Predict every study below DIR; run it again to go on where it stopped."""
    async with _client(api_url, token, max_uploads=max_uploads) as client:
        with RunProgress(sys.stderr) as progress:
            summary = await _process(
                client,
                progress,
                folder,
                output,
                as_json=as_json,
                commands=_split(commands),
                **options,
            )
    _finish(summary, output)


async def _process(
    client: MilvueClient,
    progress: RunProgress,
    folder: Path,
    output: Path,
    *,
    as_json: bool = False,
    **options: Any,
) -> RunSummary:
    def ended(outcome: StudyOutcome) -> None:
        progress.ended(outcome)
        if as_json:
            _print_json(manifest_entry(outcome))

    return await process_directory(
        client,
        folder,
        output,
        on_discovery=progress.discovered,
        on_event=progress.changed,
        on_outcome=ended,
        **options,
    )


def _finish(summary: RunSummary, output: Path) -> None:
    counts = [f"{count} {outcome}" for outcome, count in sorted(summary.outcomes.items())]
    if summary.already_done:
        counts.append(f"{summary.already_done} done before")
    click.echo(f"{', '.join(counts) or 'no studies'}; results in {output}", err=True)
    if not summary.is_complete or not (summary.outcomes or summary.already_done):
        raise _NotDoneError


@cli.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--output", type=click.Path(path_type=Path), help="Results folder.")
@_result_options
@_json_option
@_api_options
@_asynchronous
async def predict(
    *,
    files: tuple[str, ...],
    output: Path | None,
    api_url: str | None,
    token: str | None,
    as_json: bool,
    commands: str,
    **options: Any,
) -> None:
    """Predict one study; - reads one DICOM file from standard input."""
    instances = [
        await anyio.to_thread.run_sync(sys.stdin.buffer.read) if file == "-" else file
        for file in files
    ]
    async with _client(api_url, token) as client:
        outcome = await client.predict(
            instances, commands=_split(commands), output=output, **options
        )
    if as_json:
        _print_json(_outcome_json(outcome))
    else:
        _print_outcome(outcome)
    if outcome.outcome not in {"done", "empty"}:
        raise _NotDoneError


def _outcome_json(outcome: StudyOutcome) -> dict[str, Any]:
    predictions = {
        command: json.loads(result.prediction.to_json())
        for command, result in outcome.results.items()
        if result.prediction is not None
    }
    return manifest_entry(outcome) | {"predictions": predictions}


def _print_outcome(outcome: StudyOutcome) -> None:
    click.echo(f"study {outcome.study_instance_uid}: {outcome.outcome}")
    for command, result in outcome.results.items():
        count = len(result.paths) or len(result.datasets)
        click.echo(f"  {command}: {result.outcome}, {count} results")
    if outcome.smarturgences is not None:
        flag = outcome.smarturgences.flag
        click.echo(f"  flag: {flag.label} (score {flag.score:.2f})")
    for result in outcome.results.values():
        for path in result.paths:
            click.echo(f"  {path}")


@cli.command()
@click.argument("uids", metavar="UID...", nargs=-1, required=True)
@_json_option
@_api_options
@_asynchronous
async def status(
    uids: tuple[str, ...], api_url: str | None, token: str | None, as_json: bool
) -> None:
    """Ask for the status of studies; - reads StudyInstanceUIDs from standard input."""
    async with _client(api_url, token) as client:
        for uid in await _uids(uids):
            answer = await client.get_status(uid)
            if as_json:
                _print_json(json.loads(answer.to_json()))
            else:
                click.echo(f"{uid} {answer.status}")


async def _uids(uids: tuple[str, ...]) -> list[str]:
    named = list(uids)
    if "-" in named:
        named.remove("-")
        named += (await anyio.to_thread.run_sync(sys.stdin.read)).split()
    return [validate_uid(uid, "StudyInstanceUID") for uid in named]


@cli.command()
@click.argument("uid")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the results.")
@_result_options
@_json_option
@_api_options
@_asynchronous
async def get(
    *,
    uid: str,
    output: Path | None,
    api_url: str | None,
    token: str | None,
    as_json: bool,
    commands: str,
    **options: Any,
) -> None:
    """Fetch the results of a study that was sent before."""
    if output is None and not as_json:
        raise click.UsageError("give --output for files, or --json for the JSON results")
    async with _client(api_url, token) as client:
        outcome = await client.collect(uid, commands=_split(commands), output=output, **options)
    if as_json:
        _print_json(_outcome_json(outcome))
    else:
        _print_outcome(outcome)
    if outcome.outcome not in {"done", "empty"}:
        raise _NotDoneError


@cli.command()
@click.argument("uids", metavar="UID...", nargs=-1, required=True)
@_api_options
@_asynchronous
async def flag(uids: tuple[str, ...], api_url: str | None, token: str | None) -> None:
    """Flag studies as interesting, for Milvue to look at; - reads UIDs from standard input."""
    async with _client(api_url, token) as client:
        for uid in await _uids(uids):
            await client.post_interesting(uid)
            click.echo(f"{uid} flagged")


cli.add_command(simulate)
