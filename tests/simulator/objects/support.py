"""Sources, predictions for them, and results written to files for programs to judge."""

from __future__ import annotations

import hashlib
import io
import subprocess
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from milvue_async.dicom import DicomError, dataset_to_bytes, read_dataset, read_header
from milvue_async.simulator.objects.making import make_results
from milvue_async.simulator.objects.parameters import ResultParameters
from milvue_async.simulator.objects.pixels import decode
from milvue_async.simulator.predictions import Image, smarturgences, smartxpert
from tests.dicom_files import instance, pydicom_files
from tests.programs import require

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom import Dataset

    from milvue_async.protocol.models import SmarturgencesV3, SmartxpertV3

COMMANDS = ("smarturgences", "smartxpert")
LANGUAGES = ("en", "fr", "es", "de", "it", "pt")
DISCLAIMER = "SIMULATED - NOT FOR DIAGNOSTIC USE"
STUDY = generate_uid(entropy_srcs=["a study of result objects"])


class Edit(Protocol):
    """Changes a source in place."""

    def __call__(self, dataset: Dataset, /) -> None: ...


def real_files() -> list[Path]:
    """Every file of pydicom's that a client can send; of a folder of fifty headers the first."""
    files = []
    for path in pydicom_files():
        try:
            read_header(path)
        except DicomError:
            continue
        if not path.name.startswith("IM0000") or path.name == "IM000000":
            files.append(path)
    return files


def source(
    *,
    seed: int = 0,
    number: int = 1,
    rows: int = 200,
    columns: int = 300,
    edit: Edit | None = None,
) -> Dataset:
    """A DX image of 12 bits, the same for the same arguments, read from a file in memory."""
    dataset = instance(study_instance_uid=STUDY, number=number, rows=rows, columns=columns)
    values = np.random.default_rng(seed).integers(0, 4096, size=(rows, columns), dtype=np.uint16)
    dataset.PixelData = values.astype("<u2").tobytes()
    dataset.ImagerPixelSpacing = [0.5, 0.2]
    if edit:
        edit(dataset)
    return written(dataset)


def written(dataset: Dataset) -> Dataset:
    """A dataset as a receiver reads it."""
    return pydicom.dcmread(io.BytesIO(dataset_to_bytes(dataset)))


def put_raw(dataset: Dataset, keyword: str, value: bytes) -> None:
    """Set the very bytes of an attribute, as a broken sender does."""
    tag = Tag(keyword)
    value += b" " * (len(value) % 2)
    dataset[tag] = RawDataElement(
        tag=tag,
        VR=dictionary_VR(tag),
        length=len(value),
        value=value,
        value_tell=0,
        is_implicit_VR=False,
        is_little_endian=True,
    )


def with_finding(edit: Edit | None = None, **image: Any) -> Dataset:
    """The first of some sources on which smarturgences finds something."""
    sources = (source(seed=seed, edit=edit, **image) for seed in range(40))
    return next(each for each in sources if urgences([each]).instances[0].bounding_boxes)


def without_finding() -> Dataset:
    """The first of some sources on which smarturgences finds nothing."""
    sources = (source(seed=seed, number=2) for seed in range(40))
    return next(each for each in sources if not urgences([each]).instances[0].bounding_boxes)


def urgences(sources: Sequence[Dataset], language: str = "en") -> SmarturgencesV3:
    """What smarturgences predicts for a study."""
    return smarturgences(sources[0].StudyInstanceUID, [_image(each) for each in sources], language)


def expert(sources: Sequence[Dataset]) -> SmartxpertV3:
    """What smartxpert predicts for a study."""
    return smartxpert(sources[0].StudyInstanceUID, [_image(each) for each in sources])


def predict(
    command: str, sources: Sequence[Dataset], language: str = "en"
) -> SmarturgencesV3 | SmartxpertV3:
    """What a command predicts for a study."""
    return expert(sources) if command == "smartxpert" else urgences(sources, language)


def results(
    sources: Sequence[Dataset], command: str = "smarturgences", **asked: str
) -> list[Dataset]:
    """All results as a receiver reads them."""
    parameters = ResultParameters(**asked)
    prediction = predict(command, sources, parameters.language)
    return [written(each) for each in make_results(sources, command, prediction, parameters)]


def picture(origin: Dataset, command: str = "smarturgences", **asked: str) -> Dataset:
    """The only result of one source."""
    (result,) = results([origin], command, output_selection="no_recap", **asked)
    return result


def report(sources: Sequence[Dataset], command: str = "smarturgences", **asked: str) -> Dataset:
    """The only result about a study, when no pictures are asked for."""
    (result,) = results(sources, command, output_selection="none", **asked)
    return result


def values_of(dataset: Dataset) -> NDArray[Any]:
    """The stored values of a result."""
    return np.asarray(dataset.pixel_array)


def errors_of(files: Iterable[Path]) -> dict[str, list[str]]:
    """File name to what dciodvfy calls an error in it; only those that have some."""
    program = require("dciodvfy", install="apt-get install dicom3tools")
    found = {}
    for file in files:
        said = _run(program, file)
        errors = [line for line in said.splitlines() if line.startswith("Error")]
        assert "No such file" not in said
        if errors:
            found[file.name] = errors
    return found


def dump(program: str, *files: Path) -> str:
    """What dcmtk's dcmdump or dsrdump shows of some files.

    Raises:
        AssertionError: It complains of one.
    """
    path = require(program, install="apt-get install dcmtk")
    ran = subprocess.run(  # noqa: S603  the tests' own command
        [path, *files], capture_output=True, check=False
    )
    said = ran.stderr.decode(errors="replace")
    complaints = [line for line in said.splitlines() if line.startswith(("E:", "F:"))]
    assert (ran.returncode, complaints) == (0, []), said
    return ran.stdout.decode(errors="replace")


def write(datasets: Iterable[Dataset], folder: Path) -> Iterator[Path]:
    """Write datasets to files of a folder."""
    for number, dataset in enumerate(datasets, start=1):
        path = folder / f"{number:03}-{pydicom.uid.UID(dataset.SOPClassUID).name}.dcm"
        path.write_bytes(dataset_to_bytes(dataset))
        yield path


def load(path: Path) -> Dataset:
    """A real file."""
    return read_dataset(path)


def _run(program: Path, file: Path) -> str:
    ran = subprocess.run(  # noqa: S603  the tests' own command
        [program, file], capture_output=True, check=False
    )
    return (ran.stderr + ran.stdout).decode(errors="replace")


def _image(dataset: Dataset) -> Image:
    frame = decode(dataset)
    return Image(
        series_instance_uid=str(dataset.get("SeriesInstanceUID", "")),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        kind="none" if frame is None else "drawable",
        rows=0 if frame is None else frame.rows,
        columns=0 if frame is None else frame.columns,
        spacing=(0.5, 0.2),
        digest=hashlib.sha256(dataset.get("PixelData", b"")).hexdigest(),
    )
