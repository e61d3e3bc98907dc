"""Schemathesis reads ``/openapi.json`` and tries the simulator with what it says, and with other.

It looks for a 500, an undocumented status, Content-Type or header, a body that does not fit its
schema, right requests that are refused, and routes that ask for no key. Bounded, and the same each
time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from milvue_async.simulator import SimulatorConfig, ThreadedSimulator
from milvue_async.simulator.openapi import openapi_document
from tests.dicom_files import study_files
from tests.simulator.support import Clock, multipart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from milvue_async.simulator.config import Outcome

_REASON = "schemathesis is not installed"
schemathesis: Any = pytest.importorskip("schemathesis", reason=_REASON)
checks: Any = pytest.importorskip("schemathesis.specs.openapi.checks", reason=_REASON)
POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE

EXAMPLES = 25
TIMEOUT_SECONDS = 30
STOW = "multipart/related"
STOW_TYPE = f"{STOW}; boundary=frontier"
DICOM = "application/dicom"
DONE, FAILED, FORBIDDEN, EMPTY, RUNNING, ANNOUNCED = STUDIES = [f"1.2.{n}" for n in range(1, 7)]
OUTCOMES: dict[str, Outcome] = {FAILED: "error", FORBIDDEN: "forbidden", EMPTY: "empty"}
OPERATIONS = {
    (method, path): operation
    for path, item in openapi_document()["paths"].items()
    for method, operation in item.items()
}
ALTERABLE = [
    key
    for key, operation in OPERATIONS.items()
    if operation["security"] or "requestBody" in operation
]
bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


for media_type in (STOW, DICOM):
    schemathesis.openapi.media_type(media_type, st.binary(max_size=300))


class Target:
    """A simulator with a study in each state, and requests to it.

    Attributes:
        url: Of the simulator.
        files: StudyInstanceUID to the one file of the study.
    """

    def __init__(self, simulator: ThreadedSimulator, folder: Path) -> None:
        self.url = simulator.url
        self.files = {
            uid: study_files(folder / uid, study_instance_uid=uid, instances=1) for uid in STUDIES
        }
        self._key = {"x-goog-meta-owner": simulator.token}

    def send(self, uid: str, **query: str) -> Any:
        """Submit a study; the answer."""
        answer = requests.post(
            f"{self.url}/v3/studies",
            params=query,
            data=multipart(self.files[uid]),
            headers={**self._key, "Content-Type": STOW_TYPE},
            timeout=TIMEOUT_SECONDS,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def upload_url(self) -> str:
        """Where the file of the announced study may be put."""
        (url,) = self.send(ANNOUNCED, signed_url="true")["signed_urls"].values()
        return str(url)

    def result_url(self) -> str:
        """Where a result of the study that is done may be got."""
        query = {"inference_command": "smartxpert", "signed_url": "true"}
        url = f"{self.url}/v3/studies/{DONE}"
        answer = requests.get(url, query, headers=self._key, timeout=TIMEOUT_SECONDS)
        url, _recap = answer.json()["signed_urls"]
        return str(url)

    def operation(self, method: str, path: str) -> Any:
        """What schemathesis makes of an operation of the document, as it is served."""
        return schemathesis.openapi.from_url(f"{self.url}/openapi.json")[path][method]

    def check(self, case: Any, *, may_be_refused: bool, content_type: str | None = None) -> int:
        """Send a request and have schemathesis look at the answer.

        Args:
            case: The request.
            may_be_refused: Whether it may be wrong in ways that no document can say.
            content_type: Sent instead of the one that the document has.

        Returns:
            The status.
        """
        keyed = case.operation.path.startswith(("/v3/", "/blobs/"))
        headers = dict(self._key) if keyed else {}
        if content_type is not None:
            headers["Content-Type"] = content_type
        answer = case.call(headers=headers, timeout=TIMEOUT_SECONDS)
        # A request that was made wrong by its key is right again; unknown parameters are let in.
        excluded = [checks.negative_data_rejection]
        if may_be_refused:
            excluded.append(checks.positive_data_acceptance)
        case.validate_response(answer, excluded_checks=excluded, headers=headers)
        return int(answer.status_code)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    clock = Clock()
    config = SimulatorConfig(inference_seconds=2, outcomes=OUTCOMES)
    with ThreadedSimulator(config, clock=clock) as simulator:
        made = Target(simulator, tmp_path)
        for uid in (DONE, *OUTCOMES):
            made.send(uid)
        clock.now += 2
        made.send(RUNNING)
        made.send(ANNOUNCED, signed_url="true")
        yield made


def of_any_study(operation: Any, mode: Any) -> st.SearchStrategy[Any]:
    """Requests to an operation, most of them of a study that the simulator knows."""
    names = [each.name for each in operation.path_parameters if each.name != "name"]

    def of_study(uid: str | None) -> Any:
        fixed = {"path_parameters": dict.fromkeys(names, uid)} if names and uid else {}
        return operation.as_strategy(generation_mode=mode, **fixed)

    return st.sampled_from([None, *STUDIES]).flatmap(of_study)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_the_document_allows(target: Target, method: str, path: str) -> None:
    operation = target.operation(method, path)
    is_garbage = "requestBody" in OPERATIONS[method, path]  # of STOW, of DICOM, of faults

    @bounded
    @given(case=of_any_study(operation, POSITIVE))
    def run(case: Any) -> None:
        is_failed = FAILED in case.path_parameters.values()
        # Which names of time zones there are is the time zone database's to say.
        has_zone = "timezone" in (case.query or {})
        target.check(case, may_be_refused=is_garbage or is_failed or has_zone)

    run()


@pytest.mark.parametrize(("method", "path"), ALTERABLE)
def test_what_the_document_does_not_allow(target: Target, method: str, path: str) -> None:
    @bounded
    @given(case=of_any_study(target.operation(method, path), NEGATIVE))
    def run(case: Any) -> None:
        target.check(case, may_be_refused=True)

    run()


def test_submissions_of_studies(target: Target) -> None:
    operation = target.operation("post", "/v3/studies")
    bodies = [multipart(files) for files in target.files.values()]

    def of_body(body: bytes) -> Any:
        return operation.as_strategy(body=body, media_type=STOW)

    @bounded
    @given(case=st.sampled_from(bodies).flatmap(of_body))
    def run(case: Any) -> None:
        status = target.check(case, may_be_refused=False, content_type=STOW_TYPE)
        assert status == 200

    run()


@pytest.mark.parametrize("method", ["put", "get"])
def test_signed_urls(target: Target, method: str) -> None:
    url = urlsplit(target.upload_url() if method == "put" else target.result_url())
    name = {"name": unquote(url.path.removeprefix("/blobs/"))}
    body = target.files[ANNOUNCED][0].read_bytes() if method == "put" else None
    fixed = {} if body is None else {"body": body, "media_type": DICOM}
    operation = target.operation(method, "/blobs/{name}")
    query = dict(parse_qsl(url.query))

    @bounded
    @given(case=operation.as_strategy(path_parameters=name, query=query, **fixed))
    def run(case: Any) -> None:
        assert target.check(case, may_be_refused=False) == 200

    run()
