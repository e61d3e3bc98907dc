"""What is sent to each route: documented parameters only, and no credential where it shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvue_async import ConfigurationError, InvalidUIDError, ProtocolError
from milvue_async.protocol import requests
from milvue_async.protocol.models import InferenceCommandEnum, LanguageEnum
from tests.protocol import openapi

if TYPE_CHECKING:
    from collections.abc import Callable

    from milvue_async.protocol.requests import Request

UID = "1.2.840.1"
STOW = 'multipart/related; type="application/dicom"; boundary=b'
WADO = 'multipart/related; type="application/dicom"'
SIGNED = "https://storage.example/b/o%2Fp?sig=c2VjcmV0"
BY_STUDY: list[Callable[[str], Request]] = [
    lambda uid: requests.store_request(uid, STOW),
    requests.status_request,
    lambda uid: requests.retrieve_request(uid, "smarturgences", accept=WADO),
    requests.smarturgences_request,
    requests.smartxpert_request,
    requests.interesting_request,
]
SIGNED_REQUESTS = [requests.signed_put_request, requests.signed_get_request]


def test_the_routes_are_those_of_the_api() -> None:
    made = [make(UID) for make in BY_STUDY]
    assert [(request.method, request.target) for request in made] == [
        ("POST", "/v3/studies"),
        ("GET", f"/v3/studies/{UID}/status"),
        ("GET", f"/v3/studies/{UID}"),
        ("GET", f"/v3/smarturgences/{UID}"),
        ("GET", f"/v3/smartxpert/{UID}"),
        ("POST", f"/v3/interesting/{UID}"),
    ]
    for request in made:
        assert request.route == f"{request.method} {request.target}".replace(
            UID, "{study_instance_uid}"
        )
        assert request.study_instance_uid == UID
        assert not request.is_signed


@pytest.mark.parametrize("make", BY_STUDY)
@given(text=st.text() | st.sampled_from(["../..", "1/2", "1.2?x=1", "", "1.2#"]))
def test_no_path_is_made_of_what_is_no_uid(make: Callable[[str], Request], text: str) -> None:
    try:
        request = make(text)
    except InvalidUIDError:
        return
    assert set(request.study_instance_uid) <= set("0123456789.")
    assert urlsplit(request.target).path == request.target


def test_only_what_may_be_paid_for_counts_as_a_submission() -> None:
    assert [make(UID).submits for make in BY_STUDY] == [True] + [False] * 5
    assert not requests.store_request(UID, STOW, signed_url=True).submits
    for make in SIGNED_REQUESTS:
        assert not make(SIGNED, UID, api_url="https://api.example").submits


def test_only_images_may_take_as_long_as_their_bytes_flow() -> None:
    assert [make(UID).is_transfer for make in BY_STUDY] == [True, False, True, False, False, False]
    urls = requests.retrieve_request(UID, "smartxpert", accept=WADO, signed_url=True)
    assert not urls.is_transfer


def test_every_parameter_of_a_submission_has_its_name_on_the_wire() -> None:
    parameters = {"organization_id": "o", "site_id": "s", "analysis_id": "a"}
    request = requests.store_request(UID, STOW, parameters=parameters, accept="x/y")
    assert dict(request.query) == {
        "signed_url": "false",
        "organizationId": "o",
        "siteId": "s",
        "analysisId": "a",
    }
    assert dict(request.headers) == {"Content-Type": STOW, "Accept": "x/y"}


def test_every_parameter_of_a_retrieval_goes_out() -> None:
    parameters = {
        "output_format": "gsps",
        "language": LanguageEnum.FR,
        "timezone": "Europe/Paris",
        "output_selection": "no_recap",
        "recap_theme": "light",
        "structured_report_format": "full",
        "static_report_format": "pdf",
    }
    command = InferenceCommandEnum.SMARTXPERT
    request = requests.retrieve_request(UID, command, accept=WADO, parameters=parameters)
    assert dict(request.query) == {
        "inference_command": "smartxpert",
        "signed_url": "false",
        **{name: str(value) for name, value in parameters.items()},
    }
    assert all(type(value) is str for _, value in request.query)
    assert dict(request.headers) == {"Accept": WADO}


@openapi.skip_without_document
def test_no_documented_parameter_is_missing_and_none_is_made_up() -> None:
    document = json.loads(openapi.DOCUMENT.read_text())

    def documented(path: str, method: str) -> set[str]:
        parameters = document["paths"][path][method]["parameters"]
        return {each["name"] for each in parameters if each["in"] == "query"}

    store = dict.fromkeys(("organization_id", "site_id", "analysis_id"), "x")
    retrieve = dict.fromkeys(
        (
            "output_format",
            "language",
            "timezone",
            "output_selection",
            "recap_theme",
            "structured_report_format",
            "static_report_format",
        ),
        "x",
    )
    posted = requests.store_request(UID, STOW, parameters=store)
    got = requests.retrieve_request(UID, "x", accept=WADO, parameters=retrieve)
    findings = requests.smarturgences_request(UID, language="x")
    assert set(dict(posted.query)) == documented("/v3/studies", "post")
    assert set(dict(got.query)) == documented("/v3/studies/{study_instance_uid}", "get")
    assert set(dict(findings.query)) == documented("/v3/smarturgences/{study_instance_uid}", "get")


def test_a_parameter_that_is_none_is_left_to_the_server() -> None:
    request = requests.retrieve_request(UID, "x", accept=WADO, parameters={"language": None})
    assert "language" not in dict(request.query)
    assert requests.smarturgences_request(UID).query == ()


def test_signed_urls_are_asked_for_as_json() -> None:
    request = requests.retrieve_request(UID, "x", accept=WADO, signed_url=True)
    assert dict(request.query)["signed_url"] == "true"
    assert dict(request.headers) == {"Accept": "application/json"}


def test_a_parameter_that_the_route_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"organizationId.*organization_id"):
        requests.store_request(UID, STOW, parameters={"organizationId": "o"})
    with pytest.raises(ConfigurationError, match="site_id"):
        requests.retrieve_request(UID, "x", accept=WADO, parameters={"site_id": "s"})
    with pytest.raises(ConfigurationError, match="inference_command is empty"):
        requests.retrieve_request(UID, "", accept=WADO)


def test_a_signed_put_has_the_headers_that_the_storages_want() -> None:
    request = requests.signed_put_request(SIGNED, UID, api_url="https://api.example")
    assert request.method == "PUT"
    assert dict(request.headers) == {
        "Content-Type": "application/dicom",
        "x-ms-blob-type": "BlockBlob",
    }
    got = requests.signed_get_request(SIGNED, UID, api_url="https://api.example")
    assert (got.method, got.headers) == ("GET", ())


@pytest.mark.parametrize("make", SIGNED_REQUESTS)
def test_a_signed_url_is_kept_as_it_came_and_out_of_sight(make: Callable[..., Request]) -> None:
    request = make(SIGNED, UID, api_url="https://api.example")
    assert request.target == SIGNED
    assert request.is_signed
    assert "c2VjcmV0" not in repr(request)
    assert "storage.example" not in request.route


@pytest.mark.parametrize("make", SIGNED_REQUESTS)
@pytest.mark.parametrize(
    ("url", "api_url"),
    [
        ("http://storage.example/o?sig=c2VjcmV0", "https://api.example"),
        ("http://storage.example/o?sig=c2VjcmV0", "HTTPS://api.example"),
        ("ftp://storage.example/o?sig=c2VjcmV0", "https://api.example"),
        ("file:///etc/passwd?sig=c2VjcmV0", "https://api.example"),
        ("/o?sig=c2VjcmV0", "https://api.example"),
        ("https:///o?sig=c2VjcmV0", "https://api.example"),
        ("https://storage.example:0/o?sig=c2VjcmV0", "https://api.example"),
        ("https://storage.example:x/o?sig=c2VjcmV0", "https://api.example"),
        ("https://[::1/o?sig=c2VjcmV0", "https://api.example"),
        ("https://user@storage.example/o?sig=c2VjcmV0", "https://api.example"),
        ("https://:pw@storage.example/o?sig=c2VjcmV0", "https://api.example"),
        ("https://storage.example/o o?sig=c2VjcmV0", "https://api.example"),
        ("https://storage.example/o\r\nx: y?sig=c2VjcmV0", "https://api.example"),
        ("https://störage.example/o?sig=c2VjcmV0", "https://api.example"),
        ("", "https://api.example"),
    ],
)
def test_a_signed_url_that_cannot_be_used_is_refused_without_showing_it(
    make: Callable[..., Request], url: str, api_url: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        make(url, UID, api_url=api_url)
    assert "c2VjcmV0" not in str(caught.value)
    assert caught.value.study_instance_uid == UID
    assert caught.value.__context__ is None


def test_an_api_in_clear_may_have_its_storage_in_clear() -> None:
    url = "http://127.0.0.1:9000/o?sig=c2VjcmV0"
    assert requests.signed_put_request(url, UID, api_url="http://127.0.0.1").target == url
