"""The command line: the only place that prints and chooses exit codes.

0: every study done. 1: some study not done. 2: usage or configuration. 130: interrupted.
"""

from __future__ import annotations

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
from milvue_async.bulk import demo, plan, process, report
from milvue_async.errors import ConfigurationError, InvalidUIDError, MilvueError
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
from milvue_async.progress import printable
from milvue_async.protocol.uids import validate_uid
from milvue_async.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milvue_async.outcomes import StudyOutcome

__all__ = ["run"]

OK, NOT_DONE, USAGE, INTERRUPTED = 0, 1, 2, 130


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
    except NotDoneError:
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


@cli.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--output", type=click.Path(path_type=Path), help="Results folder.")
@result_options
@json_option
@api_options
@asynchronous
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
    async with open_client(api_url, token) as client:
        outcome = await client.predict(
            instances, commands=split(commands), output=output, **options
        )
    if as_json:
        print_json(_outcome_json(outcome))
    else:
        _print_outcome(outcome)
    if outcome.outcome not in {"done", "empty"}:
        raise NotDoneError


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
@json_option
@api_options
@asynchronous
async def status(
    uids: tuple[str, ...], api_url: str | None, token: str | None, as_json: bool
) -> None:
    """Ask for the status of studies; - reads StudyInstanceUIDs from standard input."""
    async with open_client(api_url, token) as client:
        for uid in await _uids(uids):
            answer = await client.get_status(uid)
            if as_json:
                print_json(json.loads(answer.to_json()))
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
@result_options
@json_option
@api_options
@asynchronous
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
    async with open_client(api_url, token) as client:
        outcome = await client.collect(uid, commands=split(commands), output=output, **options)
    if as_json:
        print_json(_outcome_json(outcome))
    else:
        _print_outcome(outcome)
    if outcome.outcome not in {"done", "empty"}:
        raise NotDoneError


@cli.command()
@click.argument("uids", metavar="UID...", nargs=-1, required=True)
@api_options
@asynchronous
async def flag(uids: tuple[str, ...], api_url: str | None, token: str | None) -> None:
    """Flag studies as interesting, for Milvue to look at; - reads UIDs from standard input."""
    async with open_client(api_url, token) as client:
        for uid in await _uids(uids):
            await client.post_interesting(uid)
            click.echo(f"{uid} flagged")


for command in (demo, process, plan, report, simulate):
    cli.add_command(command)
