"""Files made by hand, byte by byte: which structures are whole, which are refused, and why."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milvue_async import part10
from milvue_async.dicom import DicomError, read_dataset, read_header, scan_instance
from milvue_async.elements import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"
LONG = {b"OB", b"OW", b"SQ", b"UN", b"UT"}
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
STUDIES = 0x00081110  # ReferencedStudySequence
PIXELS = 0x7FE00010
UNDEFINED = 0xFFFFFFFF


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def tagged(tag: int, rest: bytes) -> bytes:
    return number(tag >> 16, 2) + number(tag & 0xFFFF, 2) + rest


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An explicit VR element; with a VR of b"" an implicit one."""
    size = len(value) if length is None else length
    if not vr:
        return tagged(tag, number(size, 4) + value)
    header = vr + b"\0\0" + number(size, 4) if vr in LONG else vr + number(size, 2)
    return tagged(tag, header + value)


def item(value: bytes, length: int | None = None) -> bytes:
    return element(ITEM, b"", value, length)


def end(tag: int) -> bytes:
    return element(tag, b"", b"")


def uids(*, implicit: bool = False) -> bytes:
    vr = b"" if implicit else b"UI"
    return element(0x00080018, vr, b"1.2.4\0") + element(0x0020000D, vr, b"1.2.3\0")


def dicom_file(dataset: bytes, transfer_syntax: str = EXPLICIT) -> bytes:
    uid = transfer_syntax.encode() + bytes(len(transfer_syntax) % 2)
    return bytes(128) + b"DICM" + element(0x00020010, b"UI", uid) + dataset


def deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


def refusal(data: bytes) -> str:
    """Why this file is refused; the same whichever way it is looked at."""
    checks: tuple[Callable[[bytes], object], ...] = (scan_instance, read_header)
    reasons = set()
    for check in checks:
        with pytest.raises(DicomError) as caught:
            check(data)
        reasons.add(str(caught.value))
    assert len(reasons) == 1
    return reasons.pop()


def accepted(dataset: bytes, transfer_syntax: str = EXPLICIT) -> bool:
    header = read_header(dicom_file(dataset, transfer_syntax))
    return (header.study_instance_uid, header.sop_instance_uid) == ("1.2.3", "1.2.4")


def nested(levels: int, opening: bytes, closing: bytes) -> bytes:
    return opening * levels + closing * levels


@pytest.mark.parametrize("levels", [64, 65, 500, 50_000])
@pytest.mark.parametrize("vr", [b"SQ", b"UN", b""])
def test_sequences_are_followed_64_deep_and_no_deeper(levels: int, vr: bytes) -> None:
    opening = element(STUDIES, vr, b"", UNDEFINED) + item(b"", UNDEFINED)
    sequences = nested(levels, opening, end(ITEM_END) + end(SEQUENCE_END))
    dataset = uids(implicit=not vr) + sequences
    syntax = EXPLICIT if vr else IMPLICIT

    if levels <= 64:
        assert accepted(dataset, syntax)
        read_dataset(dicom_file(dataset, syntax))
    else:
        data = dicom_file(dataset, syntax)
        assert refusal(data) == "more than 64 sequences within one another"
        with pytest.raises(DicomError, match=r"^more than 64 sequences within one another"):
            read_dataset(data)


def test_sequences_of_defined_length_are_followed_too() -> None:
    inner = b""
    for _ in range(65):
        inner = element(STUDIES, b"SQ", item(inner))

    assert refusal(dicom_file(uids() + inner)) == "more than 64 sequences within one another"
    implicit = b""
    for _ in range(65):
        implicit = element(STUDIES, b"", item(implicit))
    data = dicom_file(uids(implicit=True) + implicit, IMPLICIT)
    assert refusal(data) == "more than 64 sequences within one another"


@pytest.mark.parametrize(
    "odd",
    [
        element(0x00091001, b"ZZ", b"12"),
        element(0x00091001, b"", b"1234"),
        element(0x00091001, b"UN", item(b"no elements"), 8 + len(b"no elements")),
        element(STUDIES, b"SQ", b""),
        element(STUDIES, b"SQ", item(b"") + end(SEQUENCE_END) + b"passed over"),
        element(STUDIES, b"SQ", item(element(0x00080050, b"", b"implicit"))),
        element(STUDIES, b"SQ", item(end(ITEM_END)) + item(b"")),
        element(
            STUDIES, b"UN", item(element(0x00080050, b"", b"ab")) + end(SEQUENCE_END), UNDEFINED
        ),
        element(0x00091001, b"OB", item(b"fragment") + end(SEQUENCE_END), UNDEFINED),
        element(0xFFFCFFFC, b"OB", b"padding"),
        end(SEQUENCE_END),
    ],
)
def test_what_real_files_do_though_the_standard_does_not_is_let_through(odd: bytes) -> None:
    assert accepted(element(0x00080005, b"CS", b"") + odd + uids())
    assert accepted(uids() + odd)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (element(STUDIES, b"SQ", item(b"")[:-1]), "truncated: element (0008,1110) breaks off"),
        (element(STUDIES, b"SQ", item(b""), 100), "truncated: element (0008,1110) declares 100"),
        (element(STUDIES, b"SQ", item(b""), UNDEFINED), "truncated: element (0008,1110) ends wi"),
        (element(STUDIES, b"SQ", item(b"", UNDEFINED)) + uids(), "damaged: element (0008,1110)"),
        (element(STUDIES, b"SQ", item(b"", 9)) + uids(), "damaged: element (0008,1110) at byte"),
        (element(STUDIES, b"SQ", item(b"", 9) + bytes(1)), "truncated: element (0008,1110) decl"),
        (element(STUDIES, b"SQ", uids()), "damaged: element (0008,0018) is out of place"),
        (element(STUDIES, b"SQ", item(item(b""))), "damaged: element (FFFE,E000) is out of pl"),
        (item(b""), "damaged: element (FFFE,E000) is out of place at byte "),
        (end(ITEM_END), "damaged: element (FFFE,E00D) is out of place at byte "),
        (element(PIXELS, b"OB", item(b"", 9), UNDEFINED), "truncated: PixelData (7FE0,0010) de"),
        (element(PIXELS, b"OB", item(b"ab"), UNDEFINED), "truncated: PixelData (7FE0,0010) end"),
        (element(0x7FE00009, b"OW", b"", 8), "truncated: DoubleFloatPixelData (7FE0,0009) "),
        (element(0x00091001, b"UN", b"")[:-1], "truncated: element (0009,1001) breaks off before"),
        (element(0x00080005, b"CS", b"")[:-1], "truncated: of an element at byte 188, 7 bytes"),
        (element(0x60000005, b"CS", b"")[:1], "truncated: of an element at byte 188, 1 bytes"),
        (bytes(20) + b"x", "damaged: no element at byte "),
    ],
)
def test_a_broken_structure_is_refused_with_its_reason(odd: bytes, reason: str) -> None:
    assert refusal(dicom_file(uids() + odd)).startswith(reason)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 100) | st.integers(16_000, 70_000))
def test_zeros_after_the_last_element_are_padding(count: int) -> None:
    pixels = element(PIXELS, b"OW", b"1234")
    assert accepted(uids() + bytes(count))
    assert accepted(uids() + pixels + bytes(count - 1))


def test_the_pixel_less_copy_keeps_the_padding_and_other_pixel_data_elements_go_too() -> None:
    before, after = uids(), element(0xFFFCFFFC, b"OB", b"ab") + bytes(9)
    pixels = (
        element(0x7FE00008, b"OF", b"abcd")[:4] + b"UN\0\0" + number(4, 4) + b"abcd",
        element(0x7FE00009, b"", b"12345678"),
        element(PIXELS, b"OB", item(b"") + item(b"abcd") + end(SEQUENCE_END), UNDEFINED),
    )
    data = dicom_file(before + b"".join(pixels) + after, JPEG)
    emptied = (
        pixels[0][:8] + bytes(4),
        pixels[1][:4] + bytes(4),
        pixels[2][:8] + bytes(4),
    )

    parts = scan_instance(data).pixel_less

    copied = b"".join(
        part if isinstance(part, bytes) else data[part.offset : part.offset + part.length]
        for part in parts
    )
    assert copied == dicom_file(before + b"".join(emptied) + after, JPEG)


def test_pixels_within_a_sequence_stay_in_the_pixel_less_copy() -> None:
    icon = element(0x00880200, b"SQ", item(element(PIXELS, b"OW", b"icon")))
    data = dicom_file(uids() + icon)

    assert scan_instance(data).pixel_less == (part10.Segment(0, len(data)),)


def test_fragments_are_passed_over_and_not_read() -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    fragments = item(b"") + 50 * item(bytes(100_000)) + end(SEQUENCE_END)
    data = dicom_file(uids() + element(PIXELS, b"OB", fragments, UNDEFINED), JPEG)
    file = Counting(data)

    structure = part10.walk(file, (), ())

    assert structure.dataset_end == len(data)
    assert file.count < 2 * BLOCK


def test_a_file_that_returns_less_than_it_is_asked_for_is_read_all_the_same() -> None:
    class Short(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    data = dicom_file(uids() + element(PIXELS, b"OW", bytes(90_000)) + bytes(20_000))

    assert part10.walk(Short(data), (), ()) == part10.walk(io.BytesIO(data), (), ())


def test_a_dataset_of_too_many_elements_is_refused() -> None:
    data = dicom_file(uids() + 100 * element(0x00091001, b"LO", b""))

    part10.walk(io.BytesIO(data), (), (), max_elements=104)
    with pytest.raises(DicomError, match=r"^more than 100 elements$"):
        part10.walk(io.BytesIO(data), (), (), max_elements=100)


def test_file_meta_that_is_missing_or_broken_is_refused() -> None:
    assert refusal(bytes(132)).startswith("not a DICOM Part 10 file")
    assert refusal(bytes(128) + b"DICM" + uids()) == "no file meta information (group 0002)"
    unended = element(0x00020102, b"OB", b"", UNDEFINED)
    assert refusal(bytes(128) + b"DICM" + unended).startswith("damaged: element (0002,0102)")
    no_syntax = bytes(128) + b"DICM" + element(0x00020003, b"UI", b"1.2.4\0") + uids()
    assert refusal(no_syntax).startswith("no TransferSyntaxUID (0002,0010)")
    assert refusal(dicom_file(uids(), "1..2")).startswith("TransferSyntaxUID (0002,0010) is not")
    assert refusal(dicom_file(b"")) == "no StudyInstanceUID (0020,000D)"


def bomb(size: int) -> bytes:
    """A deflated dataset that inflates to ``size`` bytes and some."""
    deflater = zlib.compressobj(wbits=-15)
    start = deflater.compress(uids() + element(0x00091001, b"OB", b"", size))
    start += deflater.flush(zlib.Z_FULL_FLUSH)
    chunk = 1 << 24
    zeros = deflater.compress(bytes(chunk)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return dicom_file(start + zeros * (size // chunk + 1) + deflater.flush(), DEFLATED)


def test_a_deflate_bomb_is_refused_and_never_held_in_memory() -> None:
    data = bomb(1 << 30)
    assert len(data) < 2_000_000

    tracemalloc.start()
    with pytest.raises(DicomError, match=r"inflates to more than 1073741824 bytes$"):
        scan_instance(data)
    with pytest.raises(DicomError, match=r"inflates to more than 268435456 bytes$"):
        read_dataset(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_deflated_dataset_may_be_followed_by_zeros_or_a_gzip_trailer_only() -> None:
    dataset = uids() + element(PIXELS, b"OW", bytes(100_000))
    stream = deflate(dataset)
    trailer = number(zlib.crc32(dataset), 4) + number(len(dataset), 4)

    for after in (b"", b"\0", bytes(40_000), trailer, trailer + bytes(3)):
        header = read_header(dicom_file(stream + after, DEFLATED))
        assert header.sop_instance_uid == "1.2.4"
    for after in (b"x", bytes(40_000) + b"x", trailer[:-1], trailer + b"x", trailer[::-1]):
        reason = refusal(dicom_file(stream + after, DEFLATED))
        assert reason == "damaged: the deflated dataset is followed by other bytes"
    assert refusal(dicom_file(stream[:-1], DEFLATED)).startswith("truncated: the deflated")
    assert refusal(dicom_file(b"", DEFLATED)).startswith("truncated: the deflated")
    assert refusal(dicom_file(uids(), DEFLATED)).startswith("damaged: the dataset is not the defl")
    cut_inside = refusal(dicom_file(deflate(dataset[:-1]), DEFLATED))
    assert cut_inside == "truncated: PixelData (7FE0,0010) declares 100000 bytes, 99999 are there"


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60_000), st.integers(0, 40_000), st.booleans())
def test_a_deflated_pixel_less_copy_inflates_to_the_same_without_pixels(
    before: bytes, after: int, encapsulated: bool
) -> None:
    head = uids() + element(0x00091001, b"UN", before)
    value = item(b"abcd") + end(SEQUENCE_END) if encapsulated else bytes(50_000)
    pixels = element(PIXELS, b"OB", value, UNDEFINED if encapsulated else None)
    tail = element(0xFFFCFFFC, b"OB", bytes(after))
    data = dicom_file(deflate(head + pixels + tail), DEFLATED)

    meta, literal = scan_instance(data).pixel_less

    assert meta == part10.Segment(0, len(dicom_file(b"", DEFLATED)))
    assert isinstance(literal, bytes)
    inflated = zlib.decompressobj(wbits=-15).decompress(literal)
    assert inflated == head + element(PIXELS, b"OB", b"") + tail


def test_a_deflated_file_without_pixels_is_its_own_pixel_less_copy() -> None:
    data = dicom_file(deflate(uids()), DEFLATED)

    assert scan_instance(data).pixel_less == (part10.Segment(0, len(data)),)
