"""DICOM results as Secondary Capture Images (PS3.3 section A.8.1).

With `milvue_async.simulator.images` and `milvue_async.dicom` this is where pydicom is touched:
result datasets are built as its own; `milvue_async.dicom` writes them.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from milvue_async.dicom import dataset_to_bytes
from milvue_async.simulator.images import DISCLAIMER, draw, load

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from milvue_async.simulator.bodies import Instance
    from milvue_async.simulator.images import Source
    from milvue_async.simulator.parameters import RetrieveParameters

__all__ = ["write_captures"]

# Patient and study attributes (PS3.3 sections C.7.1.1 and C.7.2.1). Type 2: there, even if empty.
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
_OPTIONAL = ("SpecificCharacterSet", "StudyDescription", "IssuerOfPatientID", "PatientAge")


def write_captures(
    folder: Path, instances: tuple[Instance, ...], parameters: RetrieveParameters
) -> None:
    """Write one capture for each instance into ``folder``, numbered in their order.

    Blocks, and holds one instance at a time.
    """
    for number, instance in enumerate(instances, start=1):
        source = load(instance)
        picture = draw(source, parameters.inference_command, parameters.language)
        capture = _capture(source, picture, parameters, number)
        path = folder / f"{number:05}.dcm"
        path.touch(mode=0o600)
        path.write_bytes(dataset_to_bytes(capture))


def _capture(
    source: Source, picture: NDArray[np.uint8], parameters: RetrieveParameters, number: int
) -> Dataset:
    command = parameters.inference_command
    study_instance_uid = source.instance.study_instance_uid
    capture = _of_patient_and_study(source.dataset)
    capture.StudyInstanceUID = study_instance_uid
    capture.SeriesInstanceUID = _uid(study_instance_uid, parameters)
    capture.SOPInstanceUID = _uid(source.instance.sop_instance_uid, source.image.digest, parameters)
    capture.SOPClassUID = SecondaryCaptureImageStorage
    capture.Modality = "OT"
    capture.SeriesNumber = 9001
    capture.SeriesDescription = f"{command} (simulated)"
    capture.InstanceNumber = number
    capture.PatientOrientation = None
    capture.ConversionType = "SYN"
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.BurnedInAnnotation = "YES"
    capture.DerivationDescription = DISCLAIMER
    if source.instance.sop_class_uid:  # a reference without it would not be valid
        _refer_to(capture, source)
    _set_pixels(capture, picture)
    capture.file_meta = FileMetaDataset()
    capture.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    capture.file_meta.MediaStorageSOPClassUID = capture.SOPClassUID
    capture.file_meta.MediaStorageSOPInstanceUID = capture.SOPInstanceUID
    return capture


def _of_patient_and_study(source: Dataset) -> Dataset:
    """The patient's and the study's attributes, as the very bytes they are in the source.

    They are never decoded: what is wrong with a value stays as wrong as it came.
    """
    result = Dataset()
    for keyword in _TYPE_2:
        setattr(result, keyword, None)
    for keyword in (*_TYPE_2, *_OPTIONAL):
        tag = tag_for_keyword(keyword)
        element = source.get_item(tag) if tag is not None and tag in source else None
        if isinstance(element, RawDataElement):
            element = element._replace(VR=dictionary_VR(element.tag), is_implicit_VR=False)
        if element is not None:
            result[element.tag] = element
    return result


def _refer_to(capture: Dataset, source: Source) -> None:
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.instance.sop_class_uid
    reference.ReferencedSOPInstanceUID = source.instance.sop_instance_uid
    capture.SourceImageSequence = [reference]


def _set_pixels(capture: Dataset, picture: NDArray[np.uint8]) -> None:
    capture.SamplesPerPixel = 3
    capture.PhotometricInterpretation = "RGB"
    capture.PlanarConfiguration = 0
    capture.Rows, capture.Columns = picture.shape[:2]
    capture.BitsAllocated = capture.BitsStored = 8
    capture.HighBit = 7
    capture.PixelRepresentation = 0
    pixels = picture.tobytes()
    capture.PixelData = pixels + b"\0" * (len(pixels) % 2)


def _uid(*sources: object) -> str:
    """A UID of its own for the same sources, the same each time (PS3.5 section B.2)."""
    name = "\n".join(map(repr, sources))
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}"
