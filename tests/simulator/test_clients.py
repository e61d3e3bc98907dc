"""Clients that integrators have: the vendor's Python one, in its own manner, and curl."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
import requests
from anyio import to_thread
from requests_toolbelt import (  # type: ignore[import-untyped]  # it has no types
    MultipartDecoder,
    MultipartEncoder,
)

from tests.dicom_files import study_files
from tests.simulator import contract
from tests.simulator.support import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Api, Clock


class VendorStyle:
    """Asks as the vendor's published Python client does: form-data parts, no ``type``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, datasets: Sequence[pydicom.Dataset]) -> None:
        fields = []
        for number, dataset in enumerate(datasets):
            buffer = BytesIO()
            pydicom.dcmwrite(buffer, dataset, enforce_file_format=False)
            fields.append(
                (f"elem_{number}", (f"elem_{number}", buffer.getvalue(), "application/dicom"))
            )
        encoder = MultipartEncoder(fields)
        content_type = f"multipart/related; boundary={encoder.boundary_value}"
        headers = {"Content-Type": content_type, "x-goog-meta-owner": KEY}
        url = f"{self.url}/v3/studies?signed_url=False"
        reply = requests.post(url, data=encoder.to_string(), headers=headers, timeout=10)
        reply.raise_for_status()

    def get_json(self, path: str) -> Any:
        headers = {"x-goog-meta-owner": KEY}
        reply = requests.get(f"{self.url}{path}", headers=headers, timeout=10)
        reply.raise_for_status()
        kind = reply.headers["Content-Type"]
        contract.check("GET", path, reply.status_code, kind, reply.content)
        return reply.json()

    def get(self, study_instance_uid: str, command: str) -> list[pydicom.Dataset]:
        query = f"inference_command={command}&signed_url=False"
        headers = {"content-type": "application/dicom", "x-goog-meta-owner": KEY}
        url = f"{self.url}/v3/studies/{study_instance_uid}?{query}"
        reply = requests.get(url, headers=headers, timeout=10)
        if len(reply.content) == 38:
            return []
        decoder = MultipartDecoder(
            content=reply.content, content_type=reply.headers["Content-Type"], encoding="utf-8"
        )
        unpack: dict[bytes, Callable[[bytes], bytes]] = {
            b"application/dicom": bytes,
            b"application/dicom+gzip": gzip.decompress,
        }
        return [
            pydicom.dcmread(BytesIO(unpack[part.headers[b"Content-Type"]](part.content)))
            for part in decoder.parts
            if part.headers[b"Content-Type"] in unpack
        ]


@pytest.mark.parametrize("gzip_parts", [False, True])
async def test_the_vendors_script_goes_through(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path, *, gzip_parts: bool
) -> None:
    api = await start_simulator(gzip_parts=gzip_parts)
    datasets = [pydicom.dcmread(file) for file in study_files(tmp_path)]
    uid = datasets[0].StudyInstanceUID
    vendor = VendorStyle(api.simulator.url)

    def script() -> None:
        vendor.post(datasets)
        assert vendor.get_json(f"/v3/studies/{uid}/status")["status"] == "running"
        assert vendor.get(uid, "smarturgences") == []
        clock.now += 2
        assert vendor.get_json(f"/v3/studies/{uid}/status")["status"] == "done"
        for command in ("smarturgences", "smartxpert"):
            assert len(vendor.get(uid, command)) == len(datasets) + 1  # with the recap
            answer = vendor.get_json(f"/v3/{command}/{uid}")
            assert answer["status"] == "done"
            assert len(answer["instances"]) == 2

    await to_thread.run_sync(script)
    account = api.simulator.account[uid]
    assert set(account.instances) == {dataset.SOPInstanceUID for dataset in datasets}


async def test_the_vendors_client_knows_an_empty_result(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path, study_instance_uid="1.2.3")
    api = await start_simulator(outcomes={"1.2.3": "empty"})
    uid = await api.submit(files)
    clock.now += 2
    vendor = VendorStyle(api.simulator.url)
    assert await to_thread.run_sync(vendor.get, uid, "smarturgences") == []


async def test_the_curl_calls_of_the_openapi_document_go_through(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    files = study_files(tmp_path / "study")
    uid = str(pydicom.dcmread(files[0]).StudyInstanceUID)
    url = f"{api.simulator.url}/v3/studies"

    def run(*arguments: str) -> bytes:
        command = [curl, "--silent", "--fail", "--header", f"x-goog-meta-owner: {KEY}", *arguments]
        return subprocess.run(command, capture_output=True, check=True, timeout=20).stdout  # noqa: S603  our own arguments

    def script() -> None:
        forms = []
        for number, file in enumerate(files, start=1):
            forms += ["--form", f"file{number}=@{file};type=application/dicom"]
        stow = "Content-Type: multipart/related; type=application/dicom"
        posted = run("--header", stow, *forms, "-X", "POST", url)
        contract.check("POST", "/v3/studies", 200, "application/json", posted)

        json = "Accept: application/json"
        status = run("--header", json, "-X", "GET", f"{url}/{uid}/status")
        assert b'"status":"running"' in status
        clock.now += 2

        accept = "multipart/related; type=application/dicom; transfer-syntax=*, application/json"
        output = tmp_path / "response_content.txt"
        wado = f"{url}/{uid}?inference_command=smarturgences"
        run("--header", f"Accept: {accept}", "-X", "GET", wado, "--output", str(output))
        boundary = output.read_bytes()[2:34].decode()
        decoder = MultipartDecoder(output.read_bytes(), f"multipart/related; boundary={boundary}")
        assert len(decoder.parts) == len(files) + 1  # with the recap

        flagged = run("-X", "POST", f"{api.simulator.url}/v3/interesting/{uid}")
        assert flagged == b"null"

    await to_thread.run_sync(script)
    assert api.simulator.account[uid].flagged == 1
