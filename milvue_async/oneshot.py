"""One-shot coroutines under the names and with the argument order of the vendor's SDK.

Its example runs with ``await`` in front of each call. Each opens a connection of its own; whoever
makes several calls is better served by `MilvueClient`. They raise what its methods raise.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Unpack

from milvue_async.client import MilvueClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from milvue_async.dicom import Dataset
    from milvue_async.protocol.models import (
        PostDicomWebResponseV3,
        SmarturgencesV3,
        SmartxpertV3,
        StudyStatus,
    )
    from milvue_async.routes import RetrieveParameters
    from milvue_async.sources import StudySource

__all__ = [
    "get",
    "get_signed_url",
    "get_smarturgences",
    "get_smartxpert",
    "get_status",
    "post",
    "post_interesting",
    "post_signed_url",
    "wait_done",
]

_LOG = logging.getLogger("milvue_async")
_INTERVAL = 3.0
_TIMEOUT = 180.0


async def post(
    api_url: str, dcm_list: StudySource, token: str, params: Mapping[str, Any] | None = None
) -> PostDicomWebResponseV3:
    """Send a study by STOW.

    Args:
        api_url: Root of the API.
        dcm_list: Datasets, paths or bytes of one study.
        token: The API key.
        params: ``organization_id``, ``site_id``, ``analysis_id``.
    """
    async with MilvueClient(api_url, token) as client:
        return await client.post_study(dcm_list, **dict(params or {}))


async def post_signed_url(
    api_url: str, dcm_list: StudySource, token: str, params: Mapping[str, Any] | None = None
) -> PostDicomWebResponseV3:
    """Send a study by signed URLs; arguments as `post`."""
    async with MilvueClient(api_url, token) as client:
        return await client.post_study(dcm_list, transfer="signed_url", **dict(params or {}))


async def get_status(api_url: str, study_instance_uid: str, token: str) -> StudyStatus:
    """Ask once for the status of a study: ``status["status"]``."""
    async with MilvueClient(api_url, token) as client:
        return await client.get_status(study_instance_uid)


async def wait_done(  # noqa: PLR0917  the vendor's own argument order
    api_url: str,
    study_instance_uid: str,
    token: str,
    interval: float = _INTERVAL,
    timeout: float = _TIMEOUT,
    verbose: bool = False,
) -> StudyStatus:
    """Wait until a prediction has ended.

    Unlike the vendor's it raises where the prediction failed or was late, so that neither can be
    mistaken for a result.

    Args:
        api_url: Root of the API.
        study_instance_uid: The study.
        token: The API key.
        interval: Seconds before the second question; it grows from there.
        timeout: Seconds.
        verbose: Log the last status at level INFO, to the logger ``milvue_async``.

    Raises:
        PredictionFailedError: It ended with status ``error``.
        PredictionTimeoutError: It did not end in time.
    """
    async with MilvueClient(api_url, token) as client:
        status = await client.wait_done(study_instance_uid, timeout=timeout, interval=interval)
    if verbose:
        _LOG.info("study %s: %s", study_instance_uid, status.status)
    return status


async def get(
    api_url: str,
    study_instance_uid: str,
    inference_command: str,
    token: str,
    **parameters: Unpack[RetrieveParameters],
) -> list[Dataset]:
    """Fetch DICOM results by WADO; parameters as for `MilvueClient.get_results`."""
    async with MilvueClient(api_url, token) as client:
        return await client.get_results(study_instance_uid, inference_command, **parameters)


async def get_signed_url(
    api_url: str,
    study_instance_uid: str,
    inference_command: str,
    token: str,
    **parameters: Unpack[RetrieveParameters],
) -> list[Dataset]:
    """Fetch DICOM results by signed URLs; arguments as `get`."""
    async with MilvueClient(api_url, token) as client:
        return await client.get_results(
            study_instance_uid, inference_command, transfer="signed_url", **parameters
        )


async def get_smarturgences(
    api_url: str, study_instance_uid: str, token: str, language: str | None = None
) -> SmarturgencesV3:
    """Fetch the findings of a study."""
    async with MilvueClient(api_url, token) as client:
        return await client.get_smarturgences(study_instance_uid, language=language)


async def get_smartxpert(api_url: str, study_instance_uid: str, token: str) -> SmartxpertV3:
    """Fetch the measures of a study."""
    async with MilvueClient(api_url, token) as client:
        return await client.get_smartxpert(study_instance_uid)


async def post_interesting(api_url: str, study_instance_uid: str, token: str) -> None:
    """Flag a study that was sent before."""
    async with MilvueClient(api_url, token) as client:
        await client.post_interesting(study_instance_uid)
