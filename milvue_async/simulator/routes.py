"""The routes of the API v3.

What the API leaves open is answered so:

- A study with the outcome ``error`` says so on ``/status``. There are no results of it: its
  DICOM and JSON routes answer 400.
- A study announced for signed URLs is unknown (404) until all its instances have been put.
- A study or command that is forbidden is so at once, whether or not inference has ended.
- A study with the outcome ``empty`` has a JSON prediction without any instance.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from milvue_async.protocol.models import (
    GetStudyResponseV3,
    GetStudyStatusResponseV3,
    InferenceStatusEnum,
    PostDicomWebResponseV3,
    PostSignedUrlResponseV3,
    ResponseV3,
)
from milvue_async.simulator.exchanges import Route
from milvue_async.simulator.parameters import parse_language, parse_retrieve, parse_signed_url
from milvue_async.simulator.predictions import VERSION
from milvue_async.simulator.replies import (
    CLIENT,
    Refusal,
    body_of,
    files_answer,
    json_answer,
    json_part_answer,
)
from milvue_async.simulator.stow import boundary_of

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from milvue_async.simulator.blobs import Blobs
    from milvue_async.simulator.bodies import Bodies, Instance
    from milvue_async.simulator.parameters import RetrieveParameters
    from milvue_async.simulator.quotas import StudyQuota
    from milvue_async.simulator.replies import Answer
    from milvue_async.simulator.results import Results
    from milvue_async.simulator.state import State, Study

__all__ = ["Routes"]


class Routes:
    """One handler a route.

    Args:
        state: The studies.
        quota: How many of them are accepted.
        bodies: Where instances are received.
        blobs: Where signed URLs lead.
        results: What makes the results.
        gzip_parts: Whether DICOM results travel gzipped.
    """

    def __init__(
        self,
        state: State,
        quota: StudyQuota,
        bodies: Bodies,
        blobs: Blobs,
        results: Results,
        *,
        gzip_parts: bool,
    ) -> None:
        self._state = state
        self._quota = quota
        self._bodies = bodies
        self._blobs = blobs
        self._results = results
        self._gzip_parts = gzip_parts

    def table(self) -> list[Route]:
        """Every route with its handler."""
        return [
            Route("POST", "/v3/studies", self.post_study),
            Route("GET", "/v3/studies/{study_instance_uid}/status", self.get_status),
            Route("GET", "/v3/studies/{study_instance_uid}", self.get_study),
            Route("GET", "/v3/smarturgences/{study_instance_uid}", self.get_smarturgences),
            Route("GET", "/v3/smartxpert/{study_instance_uid}", self.get_smartxpert),
            Route("POST", "/v3/interesting/{study_instance_uid}", self.post_interesting),
        ]

    async def post_study(self, request: web.Request) -> Answer:
        """``POST /v3/studies``: whole instances, or the announcement of some."""
        signed_url = parse_signed_url(request.query)
        query = {name: value for name, value in request.query.items() if name != "signed_url"}
        with self._quota.admission():
            instances = await self._bodies.receive_study(
                body_of(request),
                boundary_of(request.headers.get("Content-Type", "")),
                keep=not signed_url,
            )
            if signed_url:
                return self._announced(request, self._state.announce(instances, query))
            return self._submitted(request, self._state.submit(instances, query))

    async def get_status(self, request: web.Request) -> Answer:
        """``GET /v3/studies/{study_instance_uid}/status``."""
        study = self._known(request)
        status = self._state.ask_status(study)
        answer = GetStudyStatusResponseV3(
            StudyInstanceUID=study.study_instance_uid, status=status, version=VERSION
        )
        return json_answer(answer).then(partial(self._state.told_status, study, status))

    async def get_study(self, request: web.Request) -> Answer:
        """``GET /v3/studies/{study_instance_uid}``: DICOM results, or why there are none yet."""
        parameters = parse_retrieve(request.query)
        study = self._known(request)
        command = parameters.inference_command
        self._state.retrieve(study, command, request.query)
        status = self._result_status(study, command)
        if status in (InferenceStatusEnum.RUNNING, InferenceStatusEnum.FORBIDDEN):
            return _without_results(request, study, status, parameters)
        instances = _instances(study, status)
        files = await self._results.files(instances, parameters) if instances else []
        if parameters.signed_url:
            return self._listed(request, study, status, command, files)
        answer = files_answer(files, gzipped=self._gzip_parts)
        return answer.then(partial(self._state.delivered, study, command, "dicomweb"))

    async def get_smarturgences(self, request: web.Request) -> Answer:
        """``GET /v3/smarturgences/{study_instance_uid}``."""
        return await self._prediction(request, "smarturgences", parse_language(request.query))

    async def get_smartxpert(self, request: web.Request) -> Answer:
        """``GET /v3/smartxpert/{study_instance_uid}``."""
        return await self._prediction(request, "smartxpert", "en")

    async def post_interesting(self, request: web.Request) -> Answer:
        """``POST /v3/interesting/{study_instance_uid}``."""
        self._state.flag(self._known(request))
        return json_answer(b"null")

    async def _prediction(self, request: web.Request, command: str, language: str) -> Answer:
        study = self._known(request)
        uid = study.study_instance_uid
        status = self._result_status(study, command)
        if status in (InferenceStatusEnum.RUNNING, InferenceStatusEnum.FORBIDDEN):
            return json_answer(ResponseV3(StudyInstanceUID=uid, status=status, version=VERSION))
        answer = await self._results.answer(uid, _instances(study, status), command, language)
        return json_answer(answer).then(partial(self._state.delivered_json, study, command))

    def _known(self, request: web.Request) -> Study:
        study = self._state.find(request.match_info["study_instance_uid"])
        if study is None:
            raise Refusal(404, "Study not found")
        return study

    def _result_status(self, study: Study, command: str) -> InferenceStatusEnum:
        status = self._state.inference_status(study, command)
        if status == "error":
            raise Refusal(400, "The prediction of this study failed")
        return status

    def _listed(
        self,
        request: web.Request,
        study: Study,
        status: InferenceStatusEnum,
        command: str,
        files: list[Path],
    ) -> Answer:
        """The results as signed URLs; they are delivered when those are got, if there are any."""
        urls = [self._blobs.result_url(request[CLIENT], file) for file in files]
        answer = json_answer(_study_response(study, status, signed_urls=urls))
        if not files:
            return answer.then(partial(self._state.delivered, study, command, "signed_url"))
        names = [file.name for file in files]
        self._state.list_results(study, command, files[0].parent.name, names)
        return answer

    def _announced(self, request: web.Request, study: Study) -> Answer:
        uid = study.study_instance_uid
        client = request[CLIENT]
        urls = {name: self._blobs.upload_url(client, uid, name) for name in study.missing}
        answer = json_answer(PostSignedUrlResponseV3(StudyInstanceUID=uid, signed_urls=urls))
        return answer.then(partial(self._state.answered, study, study.history[-1]))

    def _submitted(self, request: web.Request, study: Study) -> Answer:
        uid = study.study_instance_uid
        answer = json_answer(
            PostDicomWebResponseV3(
                StudyInstanceUID=uid,
                message="Upload successful",
                retrieve_url=f"{request[CLIENT].origin}/v3/studies/{uid}",
            )
        )
        return answer.then(partial(self._state.answered, study, study.history[-1]))


def _instances(study: Study, status: InferenceStatusEnum) -> tuple[Instance, ...]:
    """The instances that have results: all of them, or none of an ``empty`` study."""
    return tuple(study.instances.values()) if status == InferenceStatusEnum.DONE else ()


def _study_response(
    study: Study, status: InferenceStatusEnum, *, signed_urls: list[str] | None = None
) -> GetStudyResponseV3:
    return GetStudyResponseV3(
        StudyInstanceUID=study.study_instance_uid,
        status=status,
        version=VERSION,
        signed_urls=signed_urls,
    )


def _without_results(
    request: web.Request, study: Study, status: InferenceStatusEnum, parameters: RetrieveParameters
) -> Answer:
    """A status as JSON, inside a multipart where the client does not accept bare JSON."""
    answer = _study_response(study, status)
    accepted = ",".join(request.headers.getall("Accept", []))
    if parameters.signed_url or "application/json" in accepted:
        return json_answer(answer)
    return json_part_answer(answer)
