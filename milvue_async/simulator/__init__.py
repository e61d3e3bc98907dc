"""A Milvue API v3 on this machine, to develop and test against: no account, no patients.

It imports nothing of the client, so that the client is not tested against its own code.
"""

from __future__ import annotations

try:
    import numpy  # noqa: F401, ICN001  asked for here, to say in one line what is missing
    import PIL  # noqa: F401  likewise
except ImportError as error:
    msg = "the simulator needs numpy and Pillow: pip install 'milvue-async[simulator]'"
    raise ImportError(msg) from error

from milvue_async.simulator.app import create_app
from milvue_async.simulator.config import SimulatorConfig
from milvue_async.simulator.server import Simulator
from milvue_async.simulator.state import InstanceAccount, StudyAccount

__all__ = ["InstanceAccount", "Simulator", "SimulatorConfig", "StudyAccount", "create_app"]
