"""The routes of the API v3.

What the API leaves open is answered so:

- A study with the outcome ``error`` says so on ``/status``. There are no results of it: its
  DICOM and JSON routes answer 400.
- A study announced for signed URLs is unknown (404) until all its instances have been put.
- A study or command that is forbidden is so at once, whether or not inference has ended.
- A study with the outcome ``empty`` has a JSON prediction without any instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from milvue_async.protocol.models import (
    GetStudyResponseV3,
    GetStudyStatusResponseV3,
    InferenceStatusEnum,
    PostDicomWebResponseV3,
    PostSignedUrlResponseV3,
    ResponseV3,
)
from milvue_async.simulator.parameters import parse_language, parse_retrieve, parse_signed_url
from milvue_async.simulator.predictions import VERSION
from milvue_async.simulator.replies import (
    CLIENT,
    Refusal,
    body_of,
    json_reply,
    send_files,
    send_json_part,
)
from milvue_async.simulator.stow import boundary_of

if TYPE_CHECKING:
    from milvue_async.simulator.blobs import Blobs
    from milvue_async.simulator.bodies import Bodies, Instance
    from milvue_async.simulator.parameters import RetrieveParameters
    from milvue_async.simulator.results import Results
    from milvue_async.simulator.state import State, Study

__all__ = ["Routes"]


class Routes:
    """One handler a route.

    Args:
        state: The studies.
        bodies: Where instances are received.
        blobs: Where signed URLs lead.
        results: What makes the results.
        gzip_parts: Whether DICOM results travel gzipped.
    """

    def __init__(
        self, state: State, bodies: Bodies, blobs: Blobs, results: Results, *, gzip_parts: bool
    ) -> None:
        self._state = state
        self._bodies = bodies
        self._blobs = blobs
        self._results = results
        self._gzip_parts = gzip_parts

    def table(self) -> list[web.RouteDef]:
        """Every route with its handler."""
        gets = {
            "/v3/studies/{study_instance_uid}/status": self.get_status,
            "/v3/studies/{study_instance_uid}": self.get_study,
            "/v3/smarturgences/{study_instance_uid}": self.get_smarturgences,
            "/v3/smartxpert/{study_instance_uid}": self.get_smartxpert,
        }
        return [
            web.post("/v3/studies", self.post_study),
            *(web.get(path, handler, allow_head=False) for path, handler in gets.items()),
            web.post("/v3/interesting/{study_instance_uid}", self.post_interesting),
        ]

    async def post_study(self, request: web.Request) -> web.Response:
        """``POST /v3/studies``: whole instances, or the announcement of some."""
        signed_url = parse_signed_url(request.query)
        query = {name: value for name, value in request.query.items() if name != "signed_url"}
        with self._state.admission():
            instances = await self._bodies.receive_study(
                body_of(request),
                boundary_of(request.headers.get("Content-Type", "")),
                keep=not signed_url,
            )
            if signed_url:
                return self._announced(request, self._state.announce(instances, query))
            return self._submitted(request, self._state.submit(instances, query))

    async def get_status(self, request: web.Request) -> web.Response:
        """``GET /v3/studies/{study_instance_uid}/status``."""
        study = self._known(request)
        return json_reply(
            GetStudyStatusResponseV3(
                StudyInstanceUID=study.study_instance_uid,
                status=self._state.ask_status(study),
                version=VERSION,
            )
        )

    async def get_study(self, request: web.Request) -> web.StreamResponse:
        """``GET /v3/studies/{study_instance_uid}``: DICOM results, or why there are none yet."""
        parameters = parse_retrieve(request.query)
        study = self._known(request)
        command = parameters.inference_command
        study.result_queries[command] = dict(request.query)
        status = self._result_status(study, command)
        if status in (InferenceStatusEnum.RUNNING, InferenceStatusEnum.FORBIDDEN):
            return await _without_results(request, study, status, parameters)
        instances = _instances(study, status)
        files = await self._results.captures(instances, parameters) if instances else []
        reply: web.StreamResponse
        if parameters.signed_url:
            client = request[CLIENT]
            urls = [self._blobs.result_url(client, file) for file in files]
            reply = json_reply(_study_response(study, status, signed_urls=urls))
        else:
            reply = await send_files(request, files, gzipped=self._gzip_parts)
        study.deliveries[command] += 1
        return reply

    async def get_smarturgences(self, request: web.Request) -> web.Response:
        """``GET /v3/smarturgences/{study_instance_uid}``."""
        return await self._prediction(request, "smarturgences", parse_language(request.query))

    async def get_smartxpert(self, request: web.Request) -> web.Response:
        """``GET /v3/smartxpert/{study_instance_uid}``."""
        return await self._prediction(request, "smartxpert", "en")

    async def post_interesting(self, request: web.Request) -> web.Response:
        """``POST /v3/interesting/{study_instance_uid}``."""
        self._known(request).flagged += 1
        return json_reply(b"null")

    async def _prediction(self, request: web.Request, command: str, language: str) -> web.Response:
        study = self._known(request)
        uid = study.study_instance_uid
        status = self._result_status(study, command)
        if status in (InferenceStatusEnum.RUNNING, InferenceStatusEnum.FORBIDDEN):
            return json_reply(ResponseV3(StudyInstanceUID=uid, status=status, version=VERSION))
        answer = await self._results.answer(uid, _instances(study, status), command, language)
        study.json_deliveries[command] += 1
        return json_reply(answer)

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

    def _announced(self, request: web.Request, study: Study) -> web.Response:
        uid = study.study_instance_uid
        client = request[CLIENT]
        urls = {name: self._blobs.upload_url(client, uid, name) for name in study.missing}
        return json_reply(PostSignedUrlResponseV3(StudyInstanceUID=uid, signed_urls=urls))

    @staticmethod
    def _submitted(request: web.Request, study: Study) -> web.Response:
        uid = study.study_instance_uid
        return json_reply(
            PostDicomWebResponseV3(
                StudyInstanceUID=uid,
                message="Upload successful",
                retrieve_url=f"{request[CLIENT].origin}/v3/studies/{uid}",
            )
        )


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


async def _without_results(
    request: web.Request, study: Study, status: InferenceStatusEnum, parameters: RetrieveParameters
) -> web.StreamResponse:
    """A status as JSON, inside a multipart where the client does not accept bare JSON."""
    answer = _study_response(study, status)
    accepted = ",".join(request.headers.getall("Accept", []))
    if parameters.signed_url or "application/json" in accepted:
        return json_reply(answer)
    return await send_json_part(request, answer)
