"""Many studies: a directory in, a folder of results, a manifest and a summary out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milvue_async.batch.events import (
        DiscoveryProgressed,
        Event,
        FileSetAside,
        IntakeStopped,
        OutageBegan,
        OutageEnded,
        Polled,
        Reporter,
        RunEnded,
        RunStarted,
        StageChanged,
        StudyEnded,
    )
    from milvue_async.batch.filters import Filters
    from milvue_async.batch.found import Discovery, FoundFile, FoundStudy, SetAside
    from milvue_async.batch.pipeline import RunSummary, process_directory
    from milvue_async.batch.planning import Plan, PlannedStudy, make_plan
    from milvue_async.batch.run import RunLimits

__all__ = [
    "Discovery",
    "DiscoveryProgressed",
    "Event",
    "FileSetAside",
    "Filters",
    "FoundFile",
    "FoundStudy",
    "IntakeStopped",
    "OutageBegan",
    "OutageEnded",
    "Plan",
    "PlannedStudy",
    "Polled",
    "Reporter",
    "RunEnded",
    "RunLimits",
    "RunStarted",
    "RunSummary",
    "SetAside",
    "StageChanged",
    "StudyEnded",
    "make_plan",
    "process_directory",
]

_ORIGINS = {
    "DiscoveryProgressed": "events",
    "Event": "events",
    "FileSetAside": "events",
    "IntakeStopped": "events",
    "OutageBegan": "events",
    "OutageEnded": "events",
    "Polled": "events",
    "Reporter": "events",
    "RunEnded": "events",
    "RunStarted": "events",
    "StageChanged": "events",
    "StudyEnded": "events",
    "Filters": "filters",
    "Discovery": "found",
    "FoundFile": "found",
    "FoundStudy": "found",
    "SetAside": "found",
    "RunSummary": "pipeline",
    "process_directory": "pipeline",
    "Plan": "planning",
    "PlannedStudy": "planning",
    "make_plan": "planning",
    "RunLimits": "run",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: the processes that read headers need none of it."""
    if name not in _ORIGINS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ORIGINS[name]}"), name)
