"""The names that programs outside of this repository may call, and what it costs to import them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import milvue_async
from milvue_async import MilvueClient

METHODS = {
    "from_env",
    "post_study",
    "get_status",
    "wait_done",
    "get_results",
    "download_results",
    "get_smarturgences",
    "get_smartxpert",
    "post_interesting",
    "predict",
    "process",
}
ONE_SHOT = {
    "post",
    "get_status",
    "wait_done",
    "get",
    "get_smarturgences",
    "get_smartxpert",
    "post_signed_url",
    "get_signed_url",
    "post_interesting",
}
RESULTS = {"SmarturgencesV3", "SmartxpertV3", "StudyStatus"}
ERRORS = {
    "MilvueError",
    "ConfigurationError",
    "InvalidStudyError",
    "InvalidUIDError",
    "TransportError",
    "RequestTimeoutError",
    "ProtocolError",
    "APIError",
    "AuthenticationError",
    "NotFoundError",
    "QuotaExceededError",
    "RequestValidationError",
    "FormattingError",
    "ServerError",
    "PredictionError",
    "PredictionFailedError",
    "PredictionTimeoutError",
    "PredictionForbiddenError",
}


def test_all_lists_exactly_the_public_names() -> None:
    for name in milvue_async.__all__:  # some are imported only when they are asked for
        assert getattr(milvue_async, name) is not None
    public = {
        name
        for name, value in vars(milvue_async).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(milvue_async.__all__)
    assert len(milvue_async.__all__) == len(set(milvue_async.__all__))


def test_every_promised_name_is_there() -> None:
    assert {"MilvueClient", *ONE_SHOT, *RESULTS, *ERRORS} <= set(milvue_async.__all__)
    assert set(dir(MilvueClient)) >= METHODS


@pytest.mark.parametrize("name", milvue_async.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    value = getattr(milvue_async, name)
    if name != "Outcome":  # a type alias has no docstring
        assert inspect.getdoc(value)


@pytest.mark.parametrize(
    "name", sorted(name for name in dir(MilvueClient) if not name.startswith("_"))
)
def test_every_public_method_says_what_it_does(name: str) -> None:
    assert inspect.getdoc(getattr(MilvueClient, name))


def test_the_optional_libraries_are_not_imported_with_the_package() -> None:
    program = "import milvue_async, sys; print(*sys.modules)"
    ran = subprocess.run(  # noqa: S603  our own interpreter and words
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    imported = {name.partition(".")[0] for name in ran.stdout.split()}
    assert "aiohttp" in imported
    assert imported.isdisjoint({"click", "rich", "pytest"})
    assert "milvue_async.simulator" not in ran.stdout.split()
    assert "milvue_async.cli" not in ran.stdout.split()


def test_numpy_and_pillow_are_not_needed() -> None:
    """Where they are installed pydicom imports them; without them the package is the same."""
    program = (
        "import sys; sys.modules['numpy'] = sys.modules['PIL'] = None; import milvue_async; "
        "print(milvue_async.MilvueClient('https://h', 'key'))"
    )
    ran = subprocess.run(  # noqa: S603  our own interpreter and words
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "MilvueClient('https://h')\n"
