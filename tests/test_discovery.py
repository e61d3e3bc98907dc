"""A directory becomes studies, whatever lies in it; what is not sent is set aside with a reason."""

from __future__ import annotations

import os
import sys
import zipfile
from collections import Counter
from pathlib import Path

import anyio
import pytest

from milvue_async import ConfigurationError, load_study
from milvue_async.batch.discovery import discover
from milvue_async.batch.filters import Filters
from tests.dicom_files import pydicom_files, study_files

PYDICOM = pydicom_files()


async def test_every_real_file_is_in_a_study_or_set_aside_with_a_reason() -> None:
    seen: list[tuple[int, int]] = []
    folder = Path(os.path.commonpath(PYDICOM))
    found = await discover(folder, on_progress=lambda files, total: seen.append((files, total)))
    sent = [file.name for study in found.studies for file in study.files]
    aside = {file.path: file.reason for file in found.set_aside}
    dicomdirs = {str(path) for path in PYDICOM if path.name.startswith("DICOMDIR")}
    assert len(set(sent)) == len(sent)
    assert not set(sent) & set(aside)
    assert {*sent, *aside} >= {str(path) for path in PYDICOM} - dicomdirs
    assert seen[0] == (0, found.files_read)
    assert seen[-1] == (found.files_read, found.files_read)
    assert all(reason and len(reason.splitlines()) == 1 for reason in aside.values())
    assert not any(path in reason for path, reason in aside.items())
    assert [file.path for file in found.set_aside] == sorted(aside)
    for study in found.studies:
        loaded = await load_study([file.path for file in study.files])
        assert loaded.study_instance_uid == study.study_instance_uid
        assert loaded.size == study.size
        assert [
            (each.header.sop_instance_uid, each.header.series_instance_uid, each.header.modality)
            for each in loaded.instances
        ] == [
            (each.sop_instance_uid, each.series_instance_uid, each.modality) for each in study.files
        ]


async def test_what_pydicom_carries_comes_out_as_it_should() -> None:
    """The figures are those of pydicom 3.0.2; a later one may bring more files."""
    found = await discover(Path(os.path.commonpath(PYDICOM)))
    aside = {Path(file.path).name: file.reason for file in found.set_aside}
    expected = {
        "chrSQEncoding.dcm": "no StudyInstanceUID (0020,000D)",
        "no_meta.dcm": "not a DICOM Part 10 file (no DICM prefix)",
        "meta_missing_tsyntax.dcm": (
            "no TransferSyntaxUID (0002,0010) in the file meta information"
        ),
        "MR_truncated.dcm": "truncated: PixelData (7FE0,0010) declares 8192 bytes, 8130 are there",
        "rtplan_truncated.dcm": "truncated: element (300A,00B0) declares 976 bytes, 711 are there",
    }
    contents = Counter(
        reason.rpartition(", with ")[2]
        for reason in aside.values()
        if reason.startswith("repeats the SOPInstanceUID of ")
    )
    assert len(found.studies) >= 42
    assert sum(len(study.files) for study in found.studies) >= 129
    assert {name: aside.get(name) for name in expected} == expected
    assert contents["the same content"] >= 1
    assert contents["other content"] >= 28
    assert not any(name.startswith("DICOMDIR") for name in aside)


@pytest.mark.parametrize("processes", [1, 3])
async def test_the_outcome_does_not_depend_on_who_reads(processes: int) -> None:
    folder = Path(os.path.commonpath(PYDICOM))
    assert await discover(folder, processes=processes) == await discover(folder, processes=0)


async def test_instances_are_grouped_by_study_wherever_they_lie(tmp_path: Path) -> None:
    one = study_files(tmp_path / "a" / "b", instances=3, study_instance_uid="1.2.1")
    two = study_files(tmp_path / "a", instances=2, study_instance_uid="1.2.2", seed=5)
    one[1].rename(tmp_path / "z.dcm")
    found = await discover(tmp_path)
    grouped = {
        study.study_instance_uid: [file.path for file in study.files] for study in found.studies
    }
    assert list(grouped) == ["1.2.2", "1.2.1"], "in the order of their first files"
    assert grouped["1.2.1"] == [str(one[0]), str(one[2]), str(tmp_path / "z.dcm")]
    assert grouped["1.2.2"] == [str(file) for file in two]
    assert found.set_aside == []


@pytest.mark.parametrize(
    "name",
    [
        b"no extension",
        b"IM000001",
        b"with.txt",
        b".hidden",
        b"-rf",
        b"=cmd()",
        "gré\u2028à\u0085.dcm".encode(),
        b"not\xffutf8\xfe.dcm",
        b"a\nb\r\nc.dcm",
        b"a,b\"c'd.dcm",
        b"x" * 250,
    ],
)
@pytest.mark.parametrize("processes", [0, 1])
async def test_a_file_is_known_by_its_content_whatever_its_name(
    tmp_path: Path, name: bytes, processes: int
) -> None:
    [file] = study_files(tmp_path, instances=1)
    odd = tmp_path / os.fsdecode(name)
    file.rename(odd)
    (tmp_path / "text").touch()
    found = await discover(tmp_path, processes=processes)
    assert [aside.path for aside in found.set_aside] == [str(tmp_path / "text")]
    assert [file.name for study in found.studies for file in study.files] == [str(odd)]


async def test_what_cannot_be_sent_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    study_files(tmp_path, instances=1)
    (tmp_path / "empty").touch()
    (tmp_path / "notes.txt").write_text("hello" * 100)
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = await discover(tmp_path)
    reasons = {Path(file.path).name: file.reason for file in found.set_aside}
    assert set(reasons) == {"empty", "notes.txt", "dangling", "pipe"}
    assert reasons["dangling"] == "cannot be read (No such file or directory)"
    assert reasons["pipe"] == "not a regular file"
    assert len(found.studies) == 1


async def test_of_files_with_the_same_uid_the_first_is_sent(tmp_path: Path) -> None:
    [file] = study_files(tmp_path / "b", instances=1)
    content = file.read_bytes()
    (tmp_path / "c-same").write_bytes(content)
    (tmp_path / "d-other").write_bytes(content[:-1] + b"\x01")
    found = await discover(tmp_path)
    [study] = found.studies
    assert [each.path for each in study.files] == [str(file)]
    assert {Path(each.path).name: each.reason for each in found.set_aside} == {
        "c-same": f"repeats the SOPInstanceUID of {file}, with the same content",
        "d-other": f"repeats the SOPInstanceUID of {file}, with other content",
    }


@pytest.mark.parametrize("way", ["plain", "dots", "link"])
async def test_a_folder_that_is_excluded_is_left_out(tmp_path: Path, way: str) -> None:
    study_files(tmp_path / "in", study_instance_uid="1.2.1")
    study_files(tmp_path / "in" / "out", study_instance_uid="1.2.2")
    excluded = {
        "plain": tmp_path / "in" / "out",
        "dots": tmp_path / "in" / "missing" / ".." / "out",
        "link": tmp_path / "link",
    }[way]
    (tmp_path / "link").symlink_to(tmp_path / "in" / "out")
    found = await discover(tmp_path / "in", excluded=[excluded])
    assert [study.study_instance_uid for study in found.studies] == ["1.2.1"]
    assert found.set_aside == []


async def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    study_files(tmp_path / "in", study_instance_uid="1.2.1")
    study_files(tmp_path / "elsewhere", study_instance_uid="1.2.2")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    found = await discover(tmp_path / "in")
    assert [study.study_instance_uid for study in found.studies] == ["1.2.1"]


async def test_a_folder_cannot_hold_its_own_results(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="its own results"):
        await discover(tmp_path, excluded=[tmp_path / "x" / ".."])


async def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "missing"):
        with pytest.raises(ConfigurationError, match=name):
            await discover(tmp_path / name)


async def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    found = await discover(tmp_path)
    assert (found.studies, found.set_aside) == ([], [])


async def test_a_folder_that_cannot_be_listed_is_set_aside_and_the_rest_is_read(
    tmp_path: Path,
) -> None:
    """Its path is longer than the system takes, so it can only be reached step by step."""
    study_files(tmp_path)
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(17):
        os.mkdir("d" * 250, dir_fd=at)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    found = await discover(tmp_path)
    [aside] = found.set_aside
    assert aside.reason == "cannot be listed (File name too long)"
    assert Path(aside.path).is_relative_to(tmp_path / ("d" * 250))
    assert len(found.studies) == 1


async def test_archives_are_looked_into_whatever_their_names(tmp_path: Path) -> None:
    one = study_files(tmp_path / "in", instances=3, study_instance_uid="1.2.1")
    with zipfile.ZipFile(tmp_path / "in" / "export.dcm", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(one[0], "DICOM/IM1")
        archive.write(one[1], "DICOM/IM2")
        archive.writestr("DICOM/", b"")
        archive.writestr("README.TXT", b"text")
    one[0].unlink()
    found = await discover(tmp_path / "in")
    [study] = found.studies
    zipped = tmp_path / "in" / "export.dcm"
    assert [file.name for file in study.files] == [
        str(one[1]),
        str(one[2]),
        f"{zipped}!DICOM/IM1",
    ]
    assert [(file.path, file.reason) for file in found.set_aside] == [
        (f"{zipped}!DICOM/IM2", f"repeats the SOPInstanceUID of {one[1]}, with the same content"),
        (f"{zipped}!README.TXT", "not a DICOM Part 10 file (no DICM prefix)"),
    ]
    last = study.files[-1]
    assert last.file_size == zipped.stat().st_size
    assert last.mtime_ns == zipped.stat().st_mtime_ns
    assert study.size == 3 * last.size


async def test_an_archive_that_cannot_be_taken_is_set_aside_as_one(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(b"PK\3\4 and no more")
    found = await discover(tmp_path)
    [aside] = found.set_aside
    assert aside.path == str(tmp_path / "cut")
    assert aside.reason == "a zip archive that is damaged or cut short (BadZipFile)"
    assert not aside.is_filtered


async def test_an_archive_of_thousands_crosses_from_a_process(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        for number in range(3000):
            archive.writestr(f"{number:04}{'x' * 60}", b"text")
    found = await discover(tmp_path, processes=1)
    assert len(found.set_aside) == 3000


async def test_of_archives_that_hold_the_same_uid_the_contents_are_compared(
    tmp_path: Path,
) -> None:
    [file] = study_files(tmp_path / "made", instances=1)
    content = file.read_bytes()
    (tmp_path / "in").mkdir()
    for name, each in (("1", content), ("2", content), ("3", content[:-1] + b"\x01")):
        with zipfile.ZipFile(tmp_path / "in" / name, "w") as archive:
            archive.writestr("IM1", each)
    found = await discover(tmp_path / "in")
    assert [aside.reason.partition(", ")[2] for aside in found.set_aside] == [
        "with the same content",
        "with other content",
    ]


async def test_filters_leave_files_out_and_say_which_expression_did(tmp_path: Path) -> None:
    study_files(tmp_path, modality="DX", study_instance_uid="1.2.1")
    study_files(tmp_path, modality="CT", study_instance_uid="1.2.2")
    (tmp_path / "text").touch()
    filters = Filters.parse(["Modality=DX"], [])
    found = await discover(tmp_path, filters=filters)
    assert [study.study_instance_uid for study in found.studies] == ["1.2.1"]
    assert [(aside.reason, aside.is_filtered) for aside in found.set_aside] == [
        ("left out by --where Modality", True),
        ("left out by --where Modality", True),
        ("not a DICOM Part 10 file (no DICM prefix)", False),
    ]


@pytest.mark.parametrize("processes", [None, 0, 2])
async def test_filters_see_the_values_of_patients_and_no_message_has_them(
    tmp_path: Path, processes: int | None
) -> None:
    study_files(tmp_path / "1", study_instance_uid="1.2.1")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        for number, file in enumerate(study_files(tmp_path / "2", study_instance_uid="1.2.2")):
            archive.write(file, f"IM{number}")
            file.unlink()
    for expression, studies in (("PatientName~^Test", 2), ("PatientName=Phantom", 0)):
        filters = Filters.parse([expression], [])
        found = await discover(tmp_path, filters=filters, processes=processes)
        assert len(found.studies) == studies
        assert not any("hantom" in aside.reason for aside in found.set_aside)
        assert [aside.is_filtered for aside in found.set_aside] == [True] * (4 - 2 * studies)


async def test_a_relative_folder_gives_paths_that_hold_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [file] = study_files(tmp_path / "in", instances=1)
    monkeypatch.chdir(tmp_path)
    found = await discover(Path("in"))
    assert found.studies[0].files[0].path == str(file)


async def test_a_script_without_a_guard_is_run_once(tmp_path: Path) -> None:
    """`multiprocessing` would import it again in each process."""
    study_files(tmp_path / "in", study_instance_uid="1.2.1")
    script = tmp_path / "script.py"
    await anyio.Path(script).write_text(
        "import anyio, functools, sys, pathlib\n"
        "from milvue_async.batch.discovery import discover\n"
        "print('run')\n"
        "run = functools.partial(discover, pathlib.Path(sys.argv[1]), processes=2)\n"
        "print(len(anyio.run(run).studies))\n"
    )
    done = await anyio.run_process([sys.executable, str(script), str(tmp_path / "in")])
    assert done.stdout.split() == [b"run", b"1"]
    assert done.stderr == b""
