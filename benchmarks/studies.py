"""Make the studies that a benchmark sends; a program, so that its memory is its own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks import study_instance_uid
from tests.dicom_files import instance

__all__ = ["make_studies"]

_COLUMNS = 1024
_ROWS_A_MEBIBYTE = 512  # of 16-bit pixels


def make_studies(folder: Path, studies: int, instances: int, mebibytes: int) -> None:
    """Write one folder a study, with as many DX instances of random 12-bit pixels.

    Args:
        folder: Where; made if it is missing.
        studies: How many.
        instances: How many in each.
        mebibytes: MiB of pixels in each instance.
    """
    random = np.random.default_rng(0)
    rows = _ROWS_A_MEBIBYTE * mebibytes
    for study in range(studies):
        uid = study_instance_uid(study)
        target = folder / f"{study:03}"
        target.mkdir(parents=True)
        for number in range(1, instances + 1):
            dataset = instance(study_instance_uid=uid, number=number, rows=rows, columns=_COLUMNS)
            pixels = random.integers(0, 4096, size=(rows, _COLUMNS), dtype=np.uint16)
            dataset.PixelData = pixels.astype("<u2").tobytes()
            dataset.save_as(target / f"{number}.dcm", enforce_file_format=True)


if __name__ == "__main__":
    make_studies(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
