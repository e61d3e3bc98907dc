"""What a report is made of, and what it leaves on the disk; without a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from milvue_async.errors import ConfigurationError
from milvue_async.report import build_report
from milvue_async.report.words import LANGUAGES, words_in
from tests.cli_support import ROOT, environment
from tests.dicom_files import pydicom_files, study_files
from tests.report.support import (
    Sources,
    entry,
    finding,
    image_of,
    measured,
    predict_into,
    urgences,
    write_manifest,
    write_result,
    xpert,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from milvue_async import MilvueClient

UID = "1.2.3"
_SCRIPT = re.compile(r'<script type="application/json" id="([^"]+)">(.*?)</script>', re.DOTALL)


def data_of(page: Path) -> dict[str, Any]:
    """What the script elements of a page hold, by their id."""
    return {name: json.loads(text) for name, text in _SCRIPT.findall(page.read_text("utf-8"))}


def details(page: Path, uid: str = UID) -> dict[str, Any]:
    found: dict[str, Any] = data_of(page)[f"study-{uid}"]
    return found


def ranks(page: Path) -> list[str]:
    return [row[0] for row in data_of(page)["page"]["rows"]]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def sent(folder: Path, **options: Any) -> dict[str, Path]:
    return {image_of(path): path for path in study_files(folder, study_instance_uid=UID, **options)}


def thumbnail(output: Path, image: str, uid: str = UID) -> Path:
    return output / "report" / uid / f"{image}.jpg"


class TestRealStudies:
    async def test_results_of_a_run_are_shown_with_their_images(
        self, client: MilvueClient, tmp_path: Path
    ) -> None:
        names = ("CT_small.dcm", "MR_small.dcm", "examples_rgb_color.dcm")
        files = {path.name: path for path in pydicom_files()}
        sources = await predict_into(tmp_path, client, [[files[name]] for name in names])
        page = build_report(tmp_path, sources)
        assert page == tmp_path / "report.html"
        assert len(ranks(page)) == 3
        for uid, images in sources.known.items():
            (image,) = details(page, uid)["images"]
            assert [image["uid"]] == list(images)
            assert image["kind"] == "source"
            with Image.open(tmp_path / image["picture"]) as shown:
                assert max(shown.size) == min(512, max(image["columns"], image["rows"]))

    async def test_where_the_sources_are_gone_the_overlay_is_shown(
        self, client: MilvueClient, tmp_path: Path
    ) -> None:
        files = study_files(tmp_path / "sent", instances=2)
        sources = await predict_into(
            tmp_path,
            client,
            [files],
            output_format="overlay",
            recap_theme="dark",
            structured_report_format="full",
        )
        ((uid, images),) = sources.known.items()
        shown = details(build_report(tmp_path), uid)["images"]
        assert {image["uid"] for image in shown} == set(images)
        assert {image["kind"] for image in shown} == {"overlay"}
        again = details(build_report(tmp_path, sources), uid)["images"]
        assert {image["kind"] for image in again} == {"source"}
        assert {(image["columns"], image["rows"]) for image in again} == {(64, 64)}


class TestThumbnails:
    def test_one_that_is_newer_than_its_image_is_kept(self, tmp_path: Path) -> None:
        images = sent(tmp_path / "sent")
        write_manifest(tmp_path, entry(UID))
        sources = Sources({UID: images})
        build_report(tmp_path, sources)
        first, second = (thumbnail(tmp_path, image) for image in images)
        stamps = first.stat().st_ino, second.stat().st_ino
        later = first.stat().st_mtime_ns + 10**9
        os.utime(list(images.values())[1], ns=(later, later))
        build_report(tmp_path, sources)
        assert first.stat().st_ino == stamps[0]
        assert second.stat().st_ino != stamps[1]

    def test_one_outlives_the_image_it_was_made_of(self, tmp_path: Path) -> None:
        images = sent(tmp_path / "sent", instances=1, rows=600, columns=1200)
        (image,) = images
        write_manifest(tmp_path, entry(UID))
        write_result(tmp_path, urgences(UID, image=image))
        build_report(tmp_path, Sources({UID: images}))
        shutil.rmtree(tmp_path / "sent")
        (shown,) = details(build_report(tmp_path, Sources({UID: images})))["images"]
        assert (shown["kind"], shown["columns"], shown["rows"]) == ("source", 1200, 600)
        (shown,) = details(build_report(tmp_path))["images"]
        assert (shown["kind"], shown["columns"], shown["rows"]) == ("source", 1200, 600)

    def test_a_damaged_one_is_made_again(self, tmp_path: Path) -> None:
        images = sent(tmp_path / "sent", instances=1)
        write_manifest(tmp_path, entry(UID))
        build_report(tmp_path, Sources({UID: images}))
        picture = thumbnail(tmp_path, *images)
        picture.write_bytes(b"\xff\xd8 no picture")
        build_report(tmp_path, Sources({UID: images}))
        with Image.open(picture) as shown:
            assert shown.size == (64, 64)

    def test_an_image_that_cannot_be_decoded_leaves_its_words(self, tmp_path: Path) -> None:
        broken = tmp_path / "broken.dcm"
        broken.write_bytes(b"no DICOM")
        write_manifest(tmp_path, entry(UID))
        write_result(tmp_path, urgences(UID, image="1.2.3.4"))
        page = build_report(tmp_path, Sources({UID: {"1.2.3.4": broken}}))
        (shown,) = details(page)["images"]
        assert "picture" not in shown
        assert shown["findings"] == [["Fracture", "abnormal", 0.9]]

    def test_they_hold_nothing_of_the_header(self, tmp_path: Path) -> None:
        images = sent(tmp_path / "sent", instances=1)
        write_manifest(tmp_path, entry(UID))
        page = build_report(tmp_path, Sources({UID: images}))
        (source,) = images.values()
        assert b"Test^Phantom" in source.read_bytes()
        for written in (page, thumbnail(tmp_path, *images)):
            assert b"hantom" not in written.read_bytes()

    def test_all_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        images = sent(tmp_path / "sent", instances=1)
        write_manifest(tmp_path, entry(UID))
        page = build_report(tmp_path, Sources({UID: images}))
        picture = thumbnail(tmp_path, *images)
        assert (mode(page), mode(picture)) == (0o600, 0o600)
        assert (mode(picture.parent), mode(picture.parent.parent)) == (0o700, 0o700)
        assert not list(tmp_path.rglob("*.partial"))


class TestWhatCannotBeRead:
    def test_a_folder_without_a_manifest_is_no_results_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"manifest\.jsonl"):
            build_report(tmp_path)

    def test_a_language_nobody_speaks_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="give one of en, fr, es, de, it, pt"):
            build_report(tmp_path, language="xx")

    @pytest.mark.parametrize("module", ["jinja2", "numpy", "PIL"])
    def test_without_the_extra_it_says_how_to_install_it(self, tmp_path: Path, module: str) -> None:
        write_manifest(tmp_path, entry(UID))
        script = (
            "import importlib.util, pathlib, sys\n"
            "find = importlib.util.find_spec\n"
            "importlib.util.find_spec = lambda name: None if name == sys.argv[2] else find(name)\n"
            "import milvue_async.report as report\n"
            "assert not {'jinja2', 'numpy', 'PIL', 'pydicom'} & sys.modules.keys()\n"
            "try: report.build_report(pathlib.Path(sys.argv[1]))\n"
            "except Exception as error: print(type(error).__name__, error)\n"
        )
        done = subprocess.run(  # noqa: S603  this test's own script
            [sys.executable, "-c", script, str(tmp_path), module],
            env=environment(None) | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=60,
            check=False,
            text=True,
        )
        assert done.stdout.startswith("ConfigurationError a report needs"), done.stderr
        assert "pip install 'milvue-async[report]'" in done.stdout

    def test_broken_lines_of_the_manifest_are_passed_over_and_the_last_one_counts(
        self, tmp_path: Path
    ) -> None:
        write_manifest(tmp_path, entry(UID, "error"), '{"Study', "[]", entry(UID))
        page = build_report(tmp_path)
        assert ranks(page) == [UID]
        assert details(page)["outcome"] == "done"

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[" * 100_000,
            b'{"StudyInstanceUID": "1.2.3"}',
            b"\xff\xfe",
            json.dumps(urgences("1.2.4")).encode(),
        ],
        ids=["empty", "cut", "deep", "lacking", "no text", "of another study"],
    )
    def test_a_result_that_is_none_is_noted(self, tmp_path: Path, content: bytes) -> None:
        write_manifest(tmp_path, entry(UID), entry("1.2.5"))
        (tmp_path / UID).mkdir()
        (tmp_path / UID / "smarturgences.json").write_bytes(content)
        page = build_report(tmp_path)
        assert details(page)["unreadable"] == ["smarturgences.json"]
        assert details(page, "1.2.5")["unreadable"] == []

    def test_a_pipe_in_place_of_a_result_does_not_block(self, tmp_path: Path) -> None:
        write_manifest(tmp_path, entry(UID))
        (tmp_path / UID).mkdir()
        os.mkfifo(tmp_path / UID / "smartxpert.json")
        assert details(build_report(tmp_path))["unreadable"] == ["smartxpert.json"]

    def test_sources_that_raise_cost_the_pictures_only(self, tmp_path: Path) -> None:
        def sources(_uid: str) -> Mapping[str, Path]:
            raise RuntimeError("the database is gone")

        write_manifest(tmp_path, entry(UID))
        write_result(tmp_path, urgences(UID))
        assert details(build_report(tmp_path, sources))["flag"] == ["abnormal", 0.9]

    def test_a_study_whose_pictures_cannot_be_written_says_that_it_is_not_all(
        self, tmp_path: Path
    ) -> None:
        images = sent(tmp_path / "sent", instances=1)
        write_manifest(tmp_path, entry(UID), entry("1.2.5"))
        (tmp_path / "report").write_text("in the way")
        page = build_report(tmp_path, Sources({UID: images}))
        assert details(page)["incomplete"] is True
        assert "incomplete" not in details(page, "1.2.5")

    def test_a_page_that_cannot_be_written_is_an_error_and_the_old_one_stays(
        self, tmp_path: Path
    ) -> None:
        write_manifest(tmp_path, entry(UID))
        (tmp_path / "report.html").mkdir()
        with pytest.raises(OSError, match=r"report\.html"):
            build_report(tmp_path)
        assert not list(tmp_path.glob(".*"))

    def test_uids_that_are_none_never_become_paths(self, tmp_path: Path) -> None:
        output = tmp_path / "out"
        output.mkdir()
        (source,) = sent(tmp_path / "sent", instances=1).values()
        result = urgences(UID, image="../../escaped")
        write_manifest(output, entry(UID), entry("../escaped"))
        write_result(output, result)
        page = build_report(output, Sources({UID: {"../../escaped": source}}))
        assert ranks(page) == [UID]
        assert details(page)["images"] == []
        assert not list(tmp_path.rglob("escaped*"))

    def test_sources_with_a_name_that_is_no_uid_are_left_out(self, tmp_path: Path) -> None:
        output = tmp_path / "out"
        output.mkdir()
        (source,) = sent(tmp_path / "sent", instances=1).values()
        write_manifest(output, entry(UID))
        page = build_report(output, Sources({UID: {"../../escaped": source}}))
        assert details(page)["images"] == []
        assert not list(tmp_path.rglob("escaped*"))


class TestWhatIsSaid:
    def test_values_the_models_do_not_know_are_shown_as_they_came(self, tmp_path: Path) -> None:
        write_manifest(tmp_path, entry(UID, "postponed", results={"smartnew": "later"}))
        write_result(tmp_path, urgences(UID, "alarming", 0.5, colour="red"))
        shown = details(build_report(tmp_path))
        assert shown["flag"] == ["alarming", 0.5]
        assert shown["outcome"] == "postponed"
        assert shown["results"] == [["smartnew", "later"]]

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_findings_are_named_in_the_language_asked_for(
        self, tmp_path: Path, language: str
    ) -> None:
        write_manifest(tmp_path, entry(UID))
        write_result(tmp_path, urgences(UID))
        page = build_report(tmp_path, language=language)
        name = "Fracture" if language == "en" else f"Fracture ({language})"
        assert details(page)["findings"][0][0] == name
        assert data_of(page)["page"]["rows"][0][4] == name
        assert data_of(page)["page"]["words"]["title"] == words_in(language)["title"]

    def test_numbers_and_places_that_make_no_sense_are_left_out(self, tmp_path: Path) -> None:
        result = urgences(UID, image="1.2.3.4", score=float("nan"))
        box = result["instances"][0]["bounding_boxes"][0]
        result["instances"][0]["bounding_boxes"] = [
            box | {"top_left": []},
            box | {"bottom_right": [1, 2, 3]},
            box | {"bottom_right": [10**30, 1]},
        ]
        measure = measured("Angle", float("inf"), "deg", [[1, 2, 3], [1, 2, 3, 4]])
        write_manifest(
            tmp_path, entry(UID, bytes="many", upload_s=float("inf"), predict_s=-1, instances=True)
        )
        write_result(tmp_path, result)
        write_result(tmp_path, xpert(UID, measure, image="1.2.3.4"))
        page = build_report(tmp_path)
        (image,) = details(page)["images"]
        assert image["boxes"] == []
        assert image["measures"] == [["Angle", None, "°", [[1, 2, 3, 4]]]]
        assert details(page)["flag"] == ["abnormal", None]
        assert data_of(page)["page"]["rows"][0][5:7] == [None, None]

    def test_a_server_that_says_too_much_does_not_fill_the_page(self, tmp_path: Path) -> None:
        many = [finding("x" * 5000)] * 300
        result = urgences(UID, findings=many)
        result["instances"] = [
            result["instances"][0] | {"SOPInstanceUID": f"1.2.3.{number}"} for number in range(300)
        ]
        write_manifest(tmp_path, entry(UID, error="x" * 10**6))
        write_result(tmp_path, result)
        shown = details(build_report(tmp_path))
        assert (len(shown["images"]), shown["left_out"]) == (100, 200)
        assert len(shown["findings"]) == 200
        assert len(shown["findings"][0][0]) == len(shown["error"]) == 4000

    def test_the_urgent_come_first_and_those_not_sent_before_the_rest(self, tmp_path: Path) -> None:
        kinds = {
            "1.1": ("done", "normal", 0.1),
            "1.2": ("skipped", None, 0),
            "1.3": ("timed_out", None, 0),
            "1.4": ("done", "doubt", 0.4),
            "1.5": ("done", "doubt", 0.6),
            "1.6": ("done", "abnormal", 0.8),
            "1.7": ("error", "urgent", 0.9),
        }
        write_manifest(tmp_path, *(entry(uid, kind[0]) for uid, kind in kinds.items()))
        for uid, (_, label, score) in kinds.items():
            if label:
                write_result(tmp_path, urgences(uid, label, score))
        assert ranks(build_report(tmp_path)) == ["1.7", "1.6", "1.5", "1.4", "1.3", "1.2", "1.1"]
