"""What answers mean: models, or errors that say what was wrong and show no credential."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from milvue_async import (
    APIError,
    AuthenticationError,
    FormattingError,
    MilvueError,
    NotFoundError,
    ProtocolError,
    QuotaExceededError,
    RequestValidationError,
    ServerError,
    StudyStatus,
)
from milvue_async.protocol.replies import (
    parse_json,
    parse_of_study,
    parse_signed_urls,
    parse_store_reply,
    refusal,
    scrub,
)
from milvue_async.protocol.requests import Reply, status_request, store_request

if TYPE_CHECKING:
    from collections.abc import Mapping

UID = "1.2.840.1"
KEY = "5f3c1b0e-55aa-4c55-9d22-0f7c1f5a2b11"
STORE = store_request(UID, "multipart/related")
ANNOUNCE = store_request(UID, "multipart/related", signed_url=True)
STATUS = status_request(UID)
STATUS_ADAPTER = TypeAdapter(StudyStatus)
DICOM_JSON = {"content-type": "application/dicom+json"}


def reply(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, headers or {"content-type": "application/json"}, content)


def failed_sops(*uids: str, reason: object = 272) -> dict[str, Any]:
    """The DICOM JSON of a store response (PS3.18 table 10.5.3-1)."""
    return {
        "00081198": {
            "vr": "SQ",
            "Value": [
                {
                    "00081155": {"vr": "UI", "Value": [uid]},
                    "00081197": {"vr": "US", "Value": [reason]},
                }
                for uid in uids
            ],
        }
    }


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "in_doubt"),
    [
        (400, APIError, False, False),
        (401, AuthenticationError, False, False),
        (403, AuthenticationError, False, False),
        (404, NotFoundError, False, False),
        (408, APIError, True, True),
        (409, APIError, False, False),
        (413, APIError, False, False),
        (418, APIError, False, False),
        (422, RequestValidationError, False, False),
        (429, QuotaExceededError, True, False),
        (500, ServerError, True, True),
        (501, ServerError, False, False),
        (502, ServerError, True, True),
        (503, ServerError, True, True),
        (504, ServerError, True, True),
        (599, ServerError, False, False),
    ],
)
def test_a_status_is_an_error_of_its_own_kind(
    status: int, kind: type[APIError], *, retryable: bool, in_doubt: bool
) -> None:
    error = refusal(reply(status, {"message": "why"}), STORE)
    assert type(error) is kind
    assert (error.status, error.message, error.route) == (status, "why", "POST /v3/studies")
    assert error.study_instance_uid == UID
    assert error.retryable is retryable
    assert error.in_doubt is in_doubt
    assert not refusal(reply(status), STATUS).in_doubt, "a question cannot be paid for"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 399])
def test_a_redirect_is_no_answer(status: int) -> None:
    error = refusal(reply(status, b"", {"location": "https://elsewhere/?sig=x"}), STORE)
    assert type(error) is ProtocolError
    assert not error.retryable
    assert "elsewhere" not in str(error)


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_study_that_cannot_be_formatted_is_a_failure_of_its_own(status: int) -> None:
    error = refusal(reply(status, {"message": "Error formatting study"}), STATUS)
    assert type(error) is FormattingError
    assert not error.retryable


@pytest.mark.parametrize("kind", [429, 503])
def test_the_time_that_a_server_asks_for_is_kept(kind: int) -> None:
    error = refusal(reply(kind, b"", {"retry-after": "7"}), STATUS)
    assert isinstance(error, QuotaExceededError | ServerError)
    assert error.retry_after == 7
    dated = {
        "date": "Sat, 31 Jan 2026 23:59:30 GMT",
        "retry-after": "Sun, 01 Feb 2026 00:00:00 GMT",
    }
    error = refusal(reply(kind, b"", dated), STATUS)
    assert isinstance(error, QuotaExceededError | ServerError)
    assert error.retry_after == 30


def test_what_is_wrong_with_a_parameter_is_said_for_each() -> None:
    body = {
        "detail": [
            {"loc": ["query", "language"], "msg": "unknown", "type": "enum", "input": KEY},
            {"loc": ["query", 3], "msg": f"not {KEY.upper()}", "type": "t", "ctx": {"x": 1}},
        ]
    }
    error = refusal(reply(422, body), STATUS, secret=KEY)
    assert isinstance(error, RequestValidationError)
    assert error.message == "query.language: unknown; query.3: not REDACTED"
    assert [detail.loc for detail in error.details] == [["query", "language"], ["query", 3]]
    assert KEY not in repr(error.details).lower()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no message"),
        (b"<html>secret</html>", "no message"),
        (b"\xff\xfe\x00", "no message"),
        (b'{"message": 7}', "no message"),
        (b'{"message": ""}', "no message"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": []}', "no message"),
        (b'{"detail": [7]}', "no message"),
        (b'"a string"', "no message"),
        (b"[" * 100_000, "no message"),
        (b'{"message": "' + b"x" * 70_000 + b'"}', "x" * 299 + "…"),
        ('{"message": "gré\\u0085 à\\r\\n\\u2028gré"}'.encode(), "gré  à gré"),
    ],
)
def test_the_message_is_the_documented_field_and_never_the_raw_body(
    body: bytes, message: str
) -> None:
    assert refusal(reply(400, body), STATUS).message == message


def test_the_key_in_a_servers_words_is_cut() -> None:
    body = {"message": f"no such key: {KEY} ({KEY.upper()})"}
    assert refusal(reply(403, body), STATUS, secret=KEY).message == (
        "no such key: REDACTED (REDACTED)"
    )


URL_TEXT = st.text("abcXYZ019-._~:/@!$&'()*+,;=%\"", max_size=20)
QUERY = st.text("abcXYZ019-._~:/?@!$&'()*+,;=%", max_size=20).map(lambda text: f"SIGNATURE{text}")
SCHEMES = st.sampled_from(["https", "http", "HTTPS", "gs", "xhttps", "s3+https"])


@given(st.text(), SCHEMES, URL_TEXT, QUERY, st.text())
def test_no_query_of_any_url_survives(
    before: str, scheme: str, path: str, query: str, after: str
) -> None:
    text = f"{before}{scheme}://host/{path}?{query} {after.replace('SIGNATURE', '')}"
    assert "SIGNATURE" not in scrub(text)


@given(st.text(), URL_TEXT, QUERY)
def test_no_query_of_a_url_without_its_host_survives(before: str, path: str, query: str) -> None:
    assert "SIGNATURE" not in scrub(f"{before}/{path}?sig={query}")


@given(st.text(max_size=10_000))
def test_a_servers_words_become_one_short_line(text: str) -> None:
    line = scrub(text)
    assert len(line) <= 300
    assert len(line.splitlines()) <= 1
    assert line == line.strip()


@given(st.text(st.characters(categories=["L", "Nd"], include_characters=" .,:!"), max_size=300))
def test_plain_words_are_kept(text: str) -> None:
    assert scrub(text) == text.strip()


def test_a_hostile_message_is_scrubbed_soon() -> None:
    assert len(scrub("http://" * 10_000)) <= 300
    assert len(scrub("?" * 70_000)) <= 300


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["message", "detail", "00081198", "Value", "loc", "00081197"]),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([400, 409, 422, 429, 500]),
)
def test_no_body_of_a_refusal_is_misread(body: bytes, status: int) -> None:
    error = refusal(reply(status, body), STORE)
    assert isinstance(error, APIError)
    assert error.message


def test_an_answer_is_read_as_its_model() -> None:
    body = {"StudyInstanceUID": UID, "status": "running", "version": "1"}
    assert parse_json(STATUS_ADAPTER, reply(200, body), STATUS).status == "running"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b"{}", "StudyInstanceUID"),
        (b"null", "has no valid content"),
        (b'{"StudyInstanceUID": 5, "status": "done", "version": "secret"}', "StudyInstanceUID"),
    ],
)
@pytest.mark.parametrize("request_", [STORE, STATUS])
def test_an_answer_that_is_no_such_model_is_a_protocol_error_without_its_values(
    body: bytes, words: str, request_: Any
) -> None:
    with pytest.raises(ProtocolError, match=words) as caught:
        parse_json(STATUS_ADAPTER, reply(200, body), request_)
    error = caught.value
    assert "secret" not in str(error)
    assert error.__context__ is None
    assert error.in_doubt is request_.submits
    assert error.status == 200


def test_the_name_of_a_wrong_field_is_shown_as_one_short_line() -> None:
    urls = {"https://h/o?sig=SIGNATURE\r\n" + "x" * 999: 5}
    with pytest.raises(ProtocolError) as caught:
        parse_signed_urls(reply(200, {"StudyInstanceUID": UID, "signed_urls": urls}), ANNOUNCE, ())
    assert "SIGNATURE" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("uid", ["1.2.840.1", "1.2.840.1\0", "1.2.840.1 "])
def test_an_answer_about_the_study_asked_for_is_taken(uid: str) -> None:
    body = {"StudyInstanceUID": uid, "status": "done", "version": "1"}
    assert parse_of_study(STATUS_ADAPTER, reply(200, body), STATUS).status == "done"


def test_an_answer_about_another_study_is_refused() -> None:
    body = {"StudyInstanceUID": "1.2.840.2", "status": "done", "version": "1", "message": ""}
    with pytest.raises(ProtocolError, match="another study") as caught:
        parse_of_study(STATUS_ADAPTER, reply(200, body), STATUS)
    assert not caught.value.in_doubt
    with pytest.raises(ProtocolError, match="another study") as caught:
        parse_store_reply(reply(200, body), STORE)
    assert caught.value.in_doubt


def test_a_stored_study_is_read_from_the_apis_own_json() -> None:
    body = {"StudyInstanceUID": UID, "message": "Upload successful", "retrieve_url": "u"}
    stored = parse_store_reply(reply(200, body), STORE)
    assert (stored.message, stored.retrieve_url) == ("Upload successful", "u")


@pytest.mark.parametrize("charset", ["", "; charset=utf-8"])
def test_a_stored_study_is_read_from_the_dicom_json_of_a_pacs(charset: str) -> None:
    headers = {"content-type": f"application/dicom+json{charset}"}
    body = {
        "00081190": {"vr": "UR", "Value": ["http://pacs/studies/1"]},
        "00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]},
    }
    stored = parse_store_reply(reply(200, body, headers), STORE)
    assert stored.StudyInstanceUID == UID
    assert stored.retrieve_url == "http://pacs/studies/1"
    assert parse_store_reply(reply(200, {}, headers), STORE).retrieve_url is None


@pytest.mark.parametrize("status", [200, 202])
def test_a_pacs_that_refused_some_instances_has_not_stored_the_study(status: int) -> None:
    with pytest.raises(
        APIError, match=r"2 instances were not stored, 1\.5 first .*0x0110"
    ) as caught:
        parse_store_reply(reply(status, failed_sops("1.5", "1.6"), DICOM_JSON), STORE)
    assert caught.value.status == status
    assert not caught.value.retryable
    assert caught.value.in_doubt, "the other instances were stored"


def test_a_pacs_that_leaves_an_instance_out_of_the_stored_has_not_stored_the_study() -> None:
    request = store_request(UID, "multipart/related", sop_instance_uids=("1.5", "1.6"))
    stored = {"00081155": {"vr": "UI", "Value": ["1.5"]}}
    body = {"00081199": {"vr": "SQ", "Value": [stored, None]}}
    with pytest.raises(APIError, match=r"1 instances were not stored, 1\.6 first"):
        parse_store_reply(reply(200, body, DICOM_JSON), request)


def test_a_pacs_that_stored_nothing_says_which_and_why() -> None:
    error = refusal(reply(409, failed_sops("1.5", reason="43264"), DICOM_JSON), STORE)
    assert type(error) is APIError
    assert error.message == "1 instances were not stored, 1.5 first (failure reason 0xA900)"
    assert not error.in_doubt


@pytest.mark.parametrize("reason", ["²", "9" * 5000, "-1", "x", "1.5", None, [], {"a": 1}])
def test_a_failure_reason_that_is_none_is_not_shown(reason: object) -> None:
    error = refusal(reply(409, failed_sops("1.5", reason=reason), DICOM_JSON), STORE)
    assert "failure reason not given" in error.message


@pytest.mark.parametrize(
    "element",
    [{"Value": [None]}, {"Value": ["x"]}, {"Value": [{}]}, {"Value": [{"00081155": 5}]}],
)
def test_a_failed_instance_that_is_not_named_counts_all_the_same(element: object) -> None:
    error = refusal(reply(409, {"00081198": element}, DICOM_JSON), STORE)
    assert error.message.startswith("1 instances were not stored, not named first")


@pytest.mark.parametrize("element", [None, 5, [], {}, {"Value": 5}, {"Value": []}])
def test_a_sequence_of_failures_that_is_empty_or_none_is_no_failure(element: object) -> None:
    body = {"00081198": element, "StudyInstanceUID": UID, "message": "ok"}
    assert parse_store_reply(reply(200, body), STORE).message == "ok"


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b"{}"])
def test_an_acceptance_that_cannot_be_read_leaves_it_in_doubt(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_store_reply(reply(200, body), STORE)
    assert caught.value.in_doubt


def test_signed_urls_are_those_of_the_instances_asked_for() -> None:
    urls = {"1.1": "https://a", "1.2": "https://b", "1.9": "https://c"}
    answer = reply(200, {"StudyInstanceUID": UID, "signed_urls": urls})
    found = parse_signed_urls(answer, ANNOUNCE, ("1.2", "1.1"))
    assert found == {"1.2": "https://b", "1.1": "https://a"}
    with pytest.raises(ProtocolError, match=r"for 2 instances, 1\.3 first"):
        parse_signed_urls(answer, ANNOUNCE, ("1.1", "1.3", "1.4"))


def test_every_refusal_is_an_error_of_this_package() -> None:
    assert all(isinstance(refusal(reply(s), STATUS), MilvueError) for s in range(300, 600))
