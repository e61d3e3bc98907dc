"""docs/simulator.md: every command in it is run, and what comes out is held against it."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from milvue_async.simulator.faults import FaultKind

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "simulator.md"
PORT = "8080"  # which the document uses
SERVER = "milvue-async simulate "
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "--- end of block ---"
_SECONDS = 20


@dataclass(frozen=True)
class Example:
    """A block of the document, and the output that it shows under it."""

    language: str
    text: str
    shown: str


def examples() -> list[Example]:
    blocks = [(match[1], match[2]) for match in _BLOCK.finditer(DOCUMENT.read_text())]
    following = [*blocks[1:], ("", "")]
    return [
        Example(language, text, after if kind == "text" else "")
        for (language, text), (kind, after) in zip(blocks, following, strict=True)
        if language != "text"
    ]


def matches(shown: str, seen: str) -> bool:
    """Whether an output is the one shown, in which ``...`` stands for anything."""
    pattern = ".*?".join(map(re.escape, shown.strip().split("...")))
    return re.fullmatch(pattern, seen.strip(), re.DOTALL) is not None


class Shell:
    """The terminal of the document's reader."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, text: str) -> str:
        """What a block prints, on both outputs, without carriage returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{text}\nprintf '\\n%s\\n' '{_MARK}'\n")
        self._process.stdin.flush()
        lines = iter(self._process.stdout.readline, f"{_MARK}\n")
        return "".join(lines).replace("\r", "")


@contextmanager
def shell(folder: Path, programs: Path) -> Iterator[Shell]:
    bash = shutil.which("bash")
    assert bash is not None
    with subprocess.Popen(  # noqa: S603  our own document
        [bash, "--noprofile", "--norc"],
        cwd=folder,
        env={"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield Shell(process)
        finally:
            process.kill()


@contextmanager
def server(command: str, folder: Path) -> Iterator[str]:
    """A command of the document that serves; what it says once it listens."""
    arguments = [sys.executable, "-m", "milvue_async", *shlex.split(command)[1:]]
    with subprocess.Popen(  # noqa: S603  our own document
        arguments, cwd=folder, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            process.terminate()
            process.wait(_SECONDS)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the ``python3`` that runs the tests."""
    folder = tmp_path / "programs"
    folder.mkdir()
    script = folder / "python3"
    script.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} "$@"\n'
    )
    script.chmod(0o755)
    return folder


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def test_every_example_of_the_document_does_what_it_shows(tmp_path: Path, programs: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    port = free_port()
    folder = tmp_path / "reader"
    folder.mkdir()
    with shell(folder, programs) as terminal, ExitStack() as running:
        for example in examples():
            text = example.text.replace(PORT, port)
            if name := re.match(r"# (\S+\.\w+)\n", text):
                (folder / name[1]).write_text(text)
                continue
            if text.startswith(SERVER):
                running.close()
                seen = running.enter_context(server(text, folder))
                shown = example.shown or f"Simulated Milvue API v3 on http://127.0.0.1:{PORT} ..."
            else:
                seen, shown = terminal.run(text), example.shown
            assert matches(shown.replace(PORT, port), seen), f"{text}\nprinted:\n{seen}"


def test_every_kind_of_fault_has_its_example() -> None:
    shown = {
        match[1]
        for example in examples()
        for match in re.finditer(r'["\'][^"\' ]*[ /\w*]*:(\w+)[":]', example.text)
    }
    assert set(get_args(FaultKind)) <= shown


def test_the_comparison_of_outputs_can_fail() -> None:
    assert matches("a ... c\n", "a b\nb c")
    assert not matches("a ... c", "a b d")
    assert not matches("a", "a b")
    assert len(examples()) > 30
