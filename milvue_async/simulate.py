"""``milvue-async simulate``: options and a configuration file, then a server until interrupted."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

if TYPE_CHECKING:
    from milvue_async.simulator import SimulatorConfig

__all__ = ["simulate"]

# What ends it, besides the SIGINT that raises: so both remove a temporary folder.
_ENDS = () if sys.platform == "win32" else (signal.SIGTERM,)


def _pairs(_: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise click.BadParameter(f"{name!r} is not {option.metavar}", param=option)
    return {name: value for name, _, value in pairs}


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, help="0 takes a free one.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with the names of SimulatorConfig; options win over it.",
)
@click.option("--seed", type=int, help="What service times, shares and faults are drawn from.")
@click.option("--slots", type=int, help="Studies inferred at a time; the others wait.")
@click.option(
    "--service",
    "--inference-seconds",
    "inference_seconds",
    metavar="TIME",
    help="Inference takes 2, 1.5..4.5 or exp:3 seconds.  [default: 2]",
)
@click.option("--json-lag", "json_lag_seconds", type=float, help="Seconds results lag behind.")
@click.option(
    "--share",
    "shares",
    multiple=True,
    metavar="OUTCOME=SHARE",
    callback=_pairs,
    help="Share of the studies that end in error, forbidden or empty.",
)
@click.option(
    "--outcome",
    "outcomes",
    multiple=True,
    metavar="UID=OUTCOME",
    callback=_pairs,
    help="How one study ends, by StudyInstanceUID.",
)
@click.option("--key", "api_keys", multiple=True, help="A key to let in.  [default: any UUIDv4]")
@click.option("--quota-studies", type=int, help="Submissions in 24 hours; then 429.")
@click.option("--requests-per-second", type=float, help="Requests; then 429.")
@click.option("--retry-after", type=float, help="Seconds that such a 429 asks to wait.")
@click.option("--signed-url-seconds", type=float, help="Life of a signed URL.  [default: 900]")
@click.option("--processes", type=int, help="That make results.  [default: one a core]")
@click.option("--gzip-parts", is_flag=True, default=None, help="Send DICOM results gzipped.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="ROUTE:KIND[:PARAMETERS]",
    help="What goes wrong, such as 'POST /v3/studies:reset_after_body:0.1'.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep everything here, for the next simulator to go on.",
)
def simulate(*, host: str, port: int, config: Path | None, **options: Any) -> None:
    """Serve a local Milvue API v3 until interrupted; its predictions mean nothing.

    Options may be given more than once where that makes sense: --share, --outcome, --key, --fault.
    """
    try:
        configured = _configured(config, options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    anyio.run(_serve, configured, host, port)


def _configured(file: Path | None, options: dict[str, Any]) -> SimulatorConfig:
    """What the file says, with the options over it or, where they are many, beside it."""
    from milvue_async.simulator import config_from, read_config_file  # noqa: PLC0415  an extra

    table: dict[str, Any] = {"processes": os.cpu_count() or 1}
    table |= read_config_file(file) if file is not None else {}
    for name, value in options.items():
        if value in (None, (), {}):
            continue
        match table.get(name), value:
            case dict() as kept, dict():
                table[name] = {**kept, **value}
            case list() as kept, tuple():
                table[name] = [*kept, *value]
            case _:
                table[name] = list(value) if isinstance(value, tuple) else value
    return config_from(table)


async def _serve(config: SimulatorConfig, host: str, port: int) -> None:
    from milvue_async.simulator import Simulator  # noqa: PLC0415  an extra

    async with Simulator(config, host=host, port=port) as simulator:
        with anyio.open_signal_receiver(*_ENDS) as signals:
            keys = "any UUIDv4 is a key" if config.api_keys is None else "with keys of its own"
            click.echo(f"Simulated Milvue API v3 on {simulator.url} ({keys})")
            async for _ in signals:
                return
