"""A configuration as text: a TOML file, and what options say over it."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from milvue_async.simulator.config import SimulatorConfig
from milvue_async.simulator.faults import fault_from, first_problem
from milvue_async.simulator.service_times import parse_service_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["config_from", "read_config_file"]

_ADAPTER = TypeAdapter(SimulatorConfig)


def read_config_file(path: Path) -> dict[str, Any]:
    """The table of a TOML file. Blocks.

    A ``folder`` that is not absolute is taken from where the file is.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not TOML.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if isinstance(table.get("folder"), str):
        table["folder"] = path.parent / table["folder"]
    return table


def config_from(table: Mapping[str, Any]) -> SimulatorConfig:
    """A configuration from a table with the names of its attributes.

    Service times and faults may be text, as `parse_service_time` and `parse_fault` take it.

    Raises:
        ValueError: A name is unknown, or a value not possible; in one line.
    """
    values = dict(table)
    if isinstance(values.get("inference_seconds"), str):
        values["inference_seconds"] = parse_service_time(values["inference_seconds"])
    if isinstance(values.get("faults"), list):
        values["faults"] = tuple(fault_from(fault) for fault in values["faults"])
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None
