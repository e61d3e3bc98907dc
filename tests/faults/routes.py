"""Every route of the client, each way it is used: what breaks, and how it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.support import STUDY_UID

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from milvue_async import MilvueClient
    from tests.faults.support import Scene

__all__ = ["ROUTES", "Route", "named"]


@dataclass(frozen=True)
class Route:
    """One route as one method uses it.

    Attributes:
        name: The test's name for it.
        route: As errors name it.
        target: Where the server meets it.
        call: Uses it.
        kind: What its answer is read as: ``json``, ``dicom``, or ``any`` where it is not.
        names_study: Whether the answer says which study it is about.
        is_upload: Whether it has a body.
        submits: Whether the server may start work for which it is paid.
        is_signed: Whether it goes to a signed URL, which a 403 makes the client ask for anew.
    """

    name: str
    route: str
    target: str
    call: Callable[[MilvueClient, Scene], Awaitable[object]]
    kind: str = "json"
    names_study: bool = True
    is_upload: bool = False
    submits: bool = False
    is_signed: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def content_type(self) -> str:
        """What a good answer is."""
        if self.kind != "dicom":
            return "application/json"
        plain = 'multipart/related; type="application/dicom"; boundary=frontier'
        return "application/dicom" if self.is_signed else plain


STORE = "POST /v3/studies"
RETRIEVE = "GET /v3/studies/{study_instance_uid}"

ROUTES = (
    Route(
        "store",
        STORE,
        "POST /v3/studies",
        lambda client, scene: client.post_study(scene.files),
        is_upload=True,
        submits=True,
    ),
    Route(
        "announce",
        STORE,
        "POST /v3/studies",
        lambda client, scene: client.post_study(scene.files, transfer="signed_url"),
        is_upload=True,
    ),
    Route(
        "put",
        "PUT signed URL",
        "PUT /blob/*",
        lambda client, scene: client.post_study(scene.files, transfer="signed_url"),
        kind="any",
        names_study=False,
        is_upload=True,
        is_signed=True,
    ),
    Route(
        "status",
        "GET /v3/studies/{study_instance_uid}/status",
        f"GET /v3/studies/{STUDY_UID}/status",
        lambda client, _: client.get_status(STUDY_UID),
    ),
    Route(
        "results",
        RETRIEVE,
        f"GET /v3/studies/{STUDY_UID}",
        lambda client, _: client.get_results(STUDY_UID, "smarturgences"),
        kind="dicom",
        names_study=False,
    ),
    Route(
        "download",
        RETRIEVE,
        f"GET /v3/studies/{STUDY_UID}",
        lambda client, scene: client.download_results(STUDY_UID, "smarturgences", scene.folder),
        kind="dicom",
        names_study=False,
    ),
    Route(
        "urls",
        RETRIEVE,
        f"GET /v3/studies/{STUDY_UID}",
        lambda client, _: client.get_results(STUDY_UID, "smarturgences", transfer="signed_url"),
    ),
    Route(
        "signed results",
        "GET signed URL",
        "GET /blob/*",
        lambda client, _: client.get_results(STUDY_UID, "smarturgences", transfer="signed_url"),
        kind="dicom",
        names_study=False,
        is_signed=True,
    ),
    Route(
        "signed download",
        "GET signed URL",
        "GET /blob/*",
        lambda client, scene: client.download_results(
            STUDY_UID, "smarturgences", scene.folder, transfer="signed_url"
        ),
        kind="dicom",
        names_study=False,
        is_signed=True,
    ),
    Route(
        "smarturgences",
        "GET /v3/smarturgences/{study_instance_uid}",
        f"GET /v3/smarturgences/{STUDY_UID}",
        lambda client, _: client.get_smarturgences(STUDY_UID),
    ),
    Route(
        "smartxpert",
        "GET /v3/smartxpert/{study_instance_uid}",
        f"GET /v3/smartxpert/{STUDY_UID}",
        lambda client, _: client.get_smartxpert(STUDY_UID),
    ),
    Route(
        "interesting",
        "POST /v3/interesting/{study_instance_uid}",
        f"POST /v3/interesting/{STUDY_UID}",
        lambda client, _: client.post_interesting(STUDY_UID),
        kind="any",
        names_study=False,
    ),
)


def named(name: str) -> Route:
    """A route by its name."""
    return next(route for route in ROUTES if route.name == name)
