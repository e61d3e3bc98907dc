"""A Milvue API v3 on this machine, to develop and test against: no account, no patients.

It imports nothing of the client, so that the client is not tested against its own code.
"""

from __future__ import annotations

try:
    import numpy  # noqa: F401, ICN001  asked for here, to say in one line what is missing
    import PIL  # noqa: F401  likewise
    import reportlab  # type: ignore[import-untyped]  # noqa: F401  likewise; it has no types
except ImportError as error:
    msg = "the simulator needs its extra: pip install 'milvue-async[simulator]'"
    raise ImportError(msg) from error

from milvue_async.simulator.account import (
    InstanceAccount,
    QueueEntry,
    StudyAccount,
    SubmissionAccount,
)
from milvue_async.simulator.app import create_app
from milvue_async.simulator.config import SimulatorConfig
from milvue_async.simulator.config_file import config_from, read_config_file
from milvue_async.simulator.faults import Fault, FaultAccount, parse_fault
from milvue_async.simulator.server import Simulator
from milvue_async.simulator.service_times import (
    Constant,
    Exponential,
    ServiceTime,
    Uniform,
    parse_service_time,
)
from milvue_async.simulator.threaded import ThreadedSimulator

__all__ = [
    "Constant",
    "Exponential",
    "Fault",
    "FaultAccount",
    "InstanceAccount",
    "QueueEntry",
    "ServiceTime",
    "Simulator",
    "SimulatorConfig",
    "StudyAccount",
    "SubmissionAccount",
    "ThreadedSimulator",
    "Uniform",
    "config_from",
    "create_app",
    "parse_fault",
    "parse_service_time",
    "read_config_file",
]
