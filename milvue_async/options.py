"""What the commands of the command line share: options, and running a coroutine as a command."""

from __future__ import annotations

import contextlib
import functools
import json
from typing import TYPE_CHECKING, Any

import anyio
import click

from milvue_async.client import MilvueClient
from milvue_async.concurrency import first_failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = [
    "NotDoneError",
    "api_options",
    "asynchronous",
    "first_failures",
    "json_option",
    "open_client",
    "print_json",
    "result_options",
    "split",
]

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


class NotDoneError(Exception):
    """Something that was asked for did not end well; it has been printed."""


def api_options(command: Any) -> Any:
    """Where the API is; options win over the environment."""
    for name, help_text in (
        ("--token", "API key. MILVUE_API_TOKEN does not show in the process list."),
        ("--api-url", "Root of the API; MILVUE_API_URL."),
    ):
        command = click.option(name, help=help_text)(command)
    return command


def result_options(command: Any) -> Any:
    """Which results, how, and every parameter of the API's routes."""
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


def json_option(command: Any) -> Any:
    """Whether JSON is printed."""
    return click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")(command)


def asynchronous(command: Callable[..., Awaitable[None]]) -> Any:
    """Run a coroutine function as a command."""

    @functools.wraps(command)
    def run_command(**options: Any) -> None:
        with first_failures():
            anyio.run(functools.partial(command, **options))

    return run_command


@contextlib.contextmanager
def first_failures() -> Iterator[None]:
    """Raise what task groups wrap as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        failure = first_failure(group)
    else:
        return
    raise failure


def open_client(api_url: str | None, token: str | None, **options: Any) -> MilvueClient:
    """A client of the options or of the environment; warns where it sends in clear."""
    client = MilvueClient.from_env(api_url=api_url, token=token, **options)
    if client.settings.sends_in_clear:
        click.echo(
            "milvue-async: warning: http:// sends the key and the images unencrypted", err=True
        )
    return client


def split(commands: str) -> list[str]:
    """Names with commas between."""
    return [name.strip() for name in commands.split(",") if name.strip()]


def print_json(value: Any) -> None:
    """A line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False))
