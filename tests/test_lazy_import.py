"""pydicom is imported when it is first needed, by whichever thread comes first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pydicom

from tests.cli_support import ROOT, environment

# Implicit VR: the first such file is what asks for pydicom's data dictionary.
_IMPLICIT = Path(pydicom.__file__).parent / "data" / "test_files" / "rtplan.dcm"
_SECONDS = 60

_MANY_AT_ONCE = """
import sys
import anyio
import milvue_async

async def main():
    assert "pydicom" not in sys.modules
    async with anyio.create_task_group() as group:
        for _ in range(60):
            group.start_soon(milvue_async.load_study, [sys.argv[1]])
            await anyio.sleep(0.005)
    assert "pydicom" in sys.modules

anyio.run(main)
"""


def test_studies_are_checked_side_by_side_while_pydicom_is_being_imported() -> None:
    done = subprocess.run(  # noqa: S603  this test's own script
        [sys.executable, "-c", _MANY_AT_ONCE, str(_IMPLICIT)],
        env=environment(None) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=_SECONDS,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
