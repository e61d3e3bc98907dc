"""The pytest plugin, in the test suites of others: each run is a pytest of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = ["pytester"]

DOCUMENT = Path(__file__).parents[1] / "docs" / "testing.md"
ASYNCIO = "asyncio_default_fixture_loop_scope = function"
USES_BOTH = """
    {mark}
    async def test_both(milvue_simulator, milvue_client):
        result = await milvue_client.predict(FILES)
        assert result.outcome == "done"
        account = milvue_simulator.account[result.study_instance_uid]
        assert account.submissions == 1
        assert len(account.instances) == 2
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Runs a test module, with ``FILES`` of a study, by the plugins that an ini file asks for."""
    files = [str(file) for file in study_files(pytester.path / "study")]

    def run(source: str, *options: str, ini: str = "") -> pytest.RunResult:
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
        head = f"import anyio, asyncio, pytest, requests\nFILES = {files!r}\n"
        backend = "@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n"
        pytester.makepyfile(test_theirs=f"{head}{backend}{textwrap.dedent(source)}")
        return pytester.runpytest_inprocess("-p", "no:schemathesis", *options)

    return run


@pytest.fixture
def asyncio_installed() -> None:
    pytest.importorskip("pytest_asyncio", reason="pytest-asyncio is not installed")


def test_it_is_installed_as_a_plugin() -> None:
    (found,) = entry_points(group="pytest11", name="milvue_async")
    assert found.value == "pytest_milvue_async"


@pytest.mark.parametrize(
    ("mark", "ini"), [("@pytest.mark.anyio", ""), ("", "anyio_mode = auto")], ids=["mark", "auto"]
)
def test_async_tests_that_anyio_runs(
    suite: Callable[..., pytest.RunResult], mark: str, ini: str
) -> None:
    suite(USES_BOTH.format(mark=mark), "-p", "no:asyncio", ini=ini).assert_outcomes(passed=1)


@pytest.mark.usefixtures("asyncio_installed")
class TestBesidePytestAsyncio:
    @pytest.mark.parametrize(
        ("mark", "ini"),
        [
            ("@pytest.mark.asyncio", ""),
            ("@pytest.mark.asyncio(loop_scope='session')", ""),
            ("@pytest.mark.asyncio", "asyncio_default_test_loop_scope = module"),
            ("", "asyncio_mode = auto"),
        ],
        ids=["strict", "loop scope by marker", "loop scope by ini", "auto"],
    )
    def test_async_tests_that_it_runs(
        self, suite: Callable[..., pytest.RunResult], mark: str, ini: str
    ) -> None:
        ran = suite(USES_BOTH.format(mark=mark), ini=f"{ini}\n{ASYNCIO}")
        ran.assert_outcomes(passed=1)

    def test_async_tests_that_anyio_runs_all_the_same(
        self, suite: Callable[..., pytest.RunResult]
    ) -> None:
        ran = suite(USES_BOTH.format(mark="@pytest.mark.anyio"), ini=ASYNCIO)
        ran.assert_outcomes(passed=1)


def test_plain_tests_and_those_that_start_a_loop_themselves(
    suite: Callable[..., pytest.RunResult],
) -> None:
    suite(
        """
    from milvue_async import MilvueClient

    def test_plain(milvue_simulator):
        headers = {"x-goog-meta-owner": milvue_simulator.token}
        url = f"{milvue_simulator.url}/v3/studies/1.2.3/status"
        assert requests.get(url, headers=headers, timeout=10).status_code == 404

    def test_own_loop(milvue_simulator):
        async def flow():
            async with MilvueClient(milvue_simulator.url, milvue_simulator.token) as client:
                await client.post_study(FILES)
        asyncio.run(flow())
        assert [each.submissions for each in milvue_simulator.account.values()] == [1]

    def test_each_has_a_simulator_of_its_own(milvue_simulator):
        assert milvue_simulator.account == {}
    """,
        "-p",
        "no:asyncio",
    ).assert_outcomes(passed=3)


def test_fields_are_set_by_ini_option_marker_and_fixture(
    suite: Callable[..., pytest.RunResult],
) -> None:
    suite(
        """
    from milvue_async.simulator import SimulatorConfig, Uniform
    pytestmark = pytest.mark.milvue(json_lag_seconds=2, inference_seconds="1..3")

    def test_the_outer_marker_wins_over_the_option(milvue_simulator_config):
        config = milvue_simulator_config
        assert (config.slots, config.json_lag_seconds, config.gzip_parts) == (3, 2, True)
        assert config.inference_seconds == Uniform(1, 3)

    @pytest.mark.milvue(json_lag_seconds=4, outcomes={"1.2": "error"}, faults=["get_status:hang"])
    class TestInner:
        @pytest.mark.milvue(slots=5)
        def test_wins(self, milvue_simulator_config):
            config = milvue_simulator_config
            assert (config.slots, config.json_lag_seconds) == (5, 4)
            assert config.outcomes == {"1.2": "error"}
            assert [fault.kind for fault in config.faults] == ["hang"]

    class TestOwn:
        @pytest.fixture
        def milvue_simulator_config(self, tmp_path):
            return SimulatorConfig(folder=tmp_path)

        def test_it_wins_over_everything(self, milvue_simulator, tmp_path):
            assert list(tmp_path.iterdir())
    """,
        "-p",
        "no:asyncio",
        "--strict-markers",
        ini="milvue_simulator =\n  slots = 3\n  json_lag_seconds = 1\n  gzip_parts = true",
    ).assert_outcomes(passed=3)


def test_inference_takes_no_time_unless_told_otherwise(
    suite: Callable[..., pytest.RunResult],
) -> None:
    suite(
        """
    def test_it(milvue_simulator_config):
        assert milvue_simulator_config.inference_seconds == 0
    """,
        "-p",
        "no:asyncio",
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mark", "ini", "told"),
    [
        ("@pytest.mark.milvue(speed=1)", "", "milvue_simulator: speed: Unexpected keyword"),
        ("@pytest.mark.milvue(slots=0)", "", "milvue_simulator: slots is 0: it must be above 0"),
        ("", "milvue_simulator = slots", "ini option milvue_simulator: Expected '='"),
    ],
)
def test_a_wrong_field_is_told_in_one_line(
    suite: Callable[..., pytest.RunResult], mark: str, ini: str, told: str
) -> None:
    ran = suite(f"{mark}\ndef test_it(milvue_simulator): ...", "-p", "no:asyncio", ini=ini)
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines([f"*{told}*"])
    ran.stdout.no_fnmatch_line("*Traceback*")
    ran.stdout.no_fnmatch_line("*pytest_milvue_async.py:*")


def test_a_client_without_an_event_loop_is_told_what_to_do(
    suite: Callable[..., pytest.RunResult],
) -> None:
    ran = suite("def test_it(milvue_client): ...", "-p", "no:asyncio")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["milvue_client is for async tests*"])


def test_the_example_of_the_documentation_passes(
    suite: Callable[..., pytest.RunResult],
) -> None:
    found = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    example = found[1]
    assert len(list(filter(None, example.splitlines()))) <= 10
    suite(example, "-p", "no:asyncio").assert_outcomes(passed=1)


def test_a_run_that_uses_no_fixture_imports_nothing_of_the_package(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest(
        """
        import sys

        def pytest_sessionfinish(session):
            assert session.config.pluginmanager.has_plugin("milvue_async")
            heavy = {"milvue_async", "aiohttp", "numpy", "pydantic", "pydicom"}
            print("imported:", sorted(heavy & sys.modules.keys()))
        """
    )
    pytester.makepyfile("def test_nothing(): ...")
    options = ("-p", "no:schemathesis", "-p", "no:hypothesispytest", "-p", "no:asyncio", "-s")
    ran = pytester.runpytest_subprocess(*options)
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*imported: []"])


def test_its_own_import_is_light() -> None:
    script = "import sys, pytest_milvue_async; print('milvue_async' in sys.modules)"
    ran = subprocess.run(  # noqa: S603  our own script
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "False\n"
