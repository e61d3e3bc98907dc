"""Files read in processes of their own, so that a file that kills its reader kills nothing else.

Neither `anyio.to_process` nor `multiprocessing`: both import the caller's ``__main__`` once more
in each process, which runs a script that does not guard against it twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread

from milvue_async.batch.found import Entry
from milvue_async.batch.scanning import UNREADABLE, scan_files
from milvue_async.concurrency import for_each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from anyio.abc import ByteReceiveStream, ByteSendStream, Process

    from milvue_async.batch.filters import Filters
    from milvue_async.batch.found import ListedFile

__all__ = ["read_files", "reader_command"]

_FILES_AT_ONCE = 64
_LARGE_ANSWER = 1 << 18  # bytes; to decode more would hold up the event loop
_END_SECONDS = 2
# ``-m`` would import the package first, and with it the client, aiohttp and pydantic: 0.35 s and
# 30 MB for each process. So the package is set up here as a mere folder of modules.
_PROGRAM = """
import sys, types
package = sys.modules["milvue_async"] = types.ModuleType("milvue_async")
package.__path__ = [sys.argv[1]]
from milvue_async.batch.scanning import main
main()
"""
_PACKAGE = Path(__file__).parent.parent


async def read_files(
    files: Sequence[ListedFile],
    filters: Filters,
    *,
    processes: int,
    on_read: Callable[[list[list[Entry]]], None],
) -> None:
    """Read files to entries, in an order that is not theirs.

    Args:
        files: To be read.
        filters: What to leave out.
        processes: How many read at once; 0 is one worker thread of this process.
        on_read: Given the entries of some more files.
    """
    batches = [
        list(files[start : start + _FILES_AT_ONCE])
        for start in range(0, len(files), _FILES_AT_ONCE)
    ]
    work = _Work(batches, filters, on_read)
    await for_each(work.read_in_process, range(min(processes, len(batches))))
    await work.read_in_thread()


class _Work:
    """Batches of files that are still to be read.

    Those of a process that died are read anew, each file for itself, and in no other way.
    """

    def __init__(
        self,
        batches: list[list[ListedFile]],
        filters: Filters,
        on_read: Callable[[list[list[Entry]]], None],
    ) -> None:
        self._batches = deque(batches)
        self._suspects: deque[ListedFile] = deque()
        self._filters = filters
        self._on_read = on_read

    async def read_in_process(self, _number: int) -> None:
        """Read until nothing is left, or no process can be had."""
        while self._batches or self._suspects:
            try:
                async with _reader(self._filters) as reader:
                    await self._feed(reader)
            except _NoReaderError:
                return

    async def read_in_thread(self) -> None:
        """Read what is left. Of a suspect, this process might die too."""
        while self._suspects:
            self._set_aside(self._suspects.popleft(), "a process that read it died")
        while self._batches:
            batch = self._batches.popleft()
            entries = await anyio.to_thread.run_sync(
                scan_files, batch, self._filters, abandon_on_cancel=True
            )
            self._on_read(entries)

    async def _feed(self, reader: _Reader) -> None:
        """Give a process batches, until it dies of one or none is left."""
        while self._batches or self._suspects:
            is_suspect = not self._batches
            batch = [self._suspects.popleft()] if is_suspect else self._batches.popleft()
            answer = await reader.ask(batch)
            if answer is not None:
                self._on_read([[Entry(*fields) for fields in some] for some in answer])
                continue
            if is_suspect:
                self._set_aside(batch[0], await reader.death())
            else:
                self._suspects.extend(batch)
            return

    def _set_aside(self, file: ListedFile, reason: str) -> None:
        self._on_read([[Entry(*file, reason=f"{UNREADABLE} ({reason})")]])


class _NoReaderError(Exception):
    """No process can be started here."""


@asynccontextmanager
async def _reader(filters: Filters) -> AsyncIterator[_Reader]:
    """A process that has said that it is ready.

    Raises:
        _NoReaderError: None can be started.
    """
    process = await _start()
    try:
        reader = _Reader(process)
        if await reader.send(filters.text) != "ready":
            raise _NoReaderError
        yield reader
    finally:
        with anyio.move_on_after(_END_SECONDS, shield=True):
            # It holds nothing that would have to be finished.
            with suppress(ProcessLookupError):
                process.kill()
            await process.aclose()


def reader_command() -> list[str]:
    """The command line of a process that reads files; `milvue_async.batch.scanning` is in it."""
    # Warnings quote values of patients.
    return [sys.executable, "-P", "-W", "ignore", "-c", _PROGRAM, str(_PACKAGE)]


async def _start() -> Process:
    # The executable of a frozen program is that program, and no interpreter.
    if sys.executable and not getattr(sys, "frozen", False):
        with suppress(OSError, NotImplementedError):
            return await anyio.open_process(
                reader_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt of the terminal is for this process alone
            )
    raise _NoReaderError


class _Reader:
    def __init__(self, process: Process) -> None:
        self._process = process
        self._questions = cast("ByteSendStream", process.stdin)
        self._answers = cast("ByteReceiveStream", process.stdout)

    async def ask(self, question: object) -> Any:
        """The answer to one question, or None where the process died of it."""
        return await self.send(json.dumps(question))

    async def send(self, line: str) -> Any:
        """The same, of a question that is JSON already."""
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            await self._questions.send(line.encode("ascii") + b"\n")
            answer = await self._line()
            if len(answer) < _LARGE_ANSWER:
                return json.loads(answer)
            return await anyio.to_thread.run_sync(json.loads, answer)
        return None

    async def death(self) -> str:
        """How the process ended."""
        code = await self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"the process that read it {how}"

    async def _line(self) -> bytes:
        """What it writes until the end of the line; it writes no more before it is asked."""
        pieces = [b""]
        while not pieces[-1].endswith(b"\n"):
            pieces.append(await self._answers.receive())
        return b"".join(pieces)
