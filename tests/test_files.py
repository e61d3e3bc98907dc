"""Results on disk: for their owner alone, and named only when whole."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from milvue_async.files import PartialFile, make_private_folder, write_private_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def largest_file(length: int) -> Iterator[None]:
    """As on a disk that is full after so many bytes: to write more fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_folder_and_those_above_it_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    made = make_private_folder(tmp_path / "a" / "b" / "c")
    assert [mode(folder) for folder in (made, made.parent, made.parent.parent)] == [0o700] * 3
    assert make_private_folder(made) == made


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_file_in_place_of_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(NotADirectoryError) as caught:
        make_private_folder(tmp_path / "f")
    assert caught.value.errno == errno.ENOTDIR
    assert caught.value.filename == str(tmp_path / "f")
    with pytest.raises(NotADirectoryError):
        make_private_folder(tmp_path / "f" / "g")


def test_many_threads_may_make_the_same_folder_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    made: list[Path] = []

    def make() -> None:
        barrier.wait()
        made.append(make_private_folder(tmp_path / "x" / "y" / "z"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8


def test_a_file_is_its_owners_alone_while_it_is_written_and_after(tmp_path: Path) -> None:
    with PartialFile(tmp_path) as partial:
        partial.write([b"ab", memoryview(b"cd")])
        assert mode(partial.path) == 0o600
        assert left_in(tmp_path) == [partial.path.name]
        assert partial.path.suffix == ".partial"
        target = partial.publish("1.2.dcm")
    assert target.read_bytes() == b"abcd"
    assert mode(target) == 0o600
    assert left_in(tmp_path) == ["1.2.dcm"]


def test_a_file_that_is_given_up_leaves_no_trace(tmp_path: Path) -> None:
    def fail() -> None:
        with PartialFile(tmp_path) as partial:
            partial.write([b"half"])
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert left_in(tmp_path) == []


def test_a_file_that_nobody_holds_any_more_leaves_no_trace(tmp_path: Path) -> None:
    partial = PartialFile(tmp_path)
    partial.write([b"half"])
    del partial
    assert left_in(tmp_path) == []


def test_discarding_is_harmless_at_any_time(tmp_path: Path) -> None:
    partial = PartialFile(tmp_path)
    target = partial.publish("a")
    partial.discard()
    partial.discard()
    assert target.exists()
    other = PartialFile(tmp_path)
    other.path.unlink()
    other.discard()
    assert left_in(tmp_path) == ["a"]


def test_a_published_file_can_be_withdrawn(tmp_path: Path) -> None:
    with PartialFile(tmp_path) as partial:
        partial.publish("a")
        partial.withdraw()
        partial.withdraw()
    assert left_in(tmp_path) == []


def test_nothing_is_written_to_a_file_that_was_given_up(tmp_path: Path) -> None:
    partial = PartialFile(tmp_path)
    partial.discard()
    with pytest.raises(ValueError, match="closed"):
        partial.write([b"x"])
    with pytest.raises(FileNotFoundError):
        partial.publish("a")
    assert left_in(tmp_path) == []


def test_a_link_planted_under_the_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "1.2.dcm").symlink_to(victim)
    target = write_private_file(tmp_path / "1.2.dcm", b"result")
    assert victim.read_bytes() == b"precious"
    assert not target.is_symlink()
    assert target.read_bytes() == b"result"


def test_the_partial_file_is_never_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    planted = tmp_path / ".guessed.partial"
    planted.symlink_to(victim)
    with pytest.raises(FileExistsError):
        PartialFile(tmp_path)
    assert planted.is_symlink(), "what was not ours is not ours to remove"
    assert victim.read_bytes() == b"precious"


def test_an_older_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write_private_file(tmp_path / "a.json", b"old")
    path.chmod(0o644)
    assert write_private_file(path, b"new").read_bytes() == b"new"
    assert mode(path) == 0o600
    with largest_file(1024), pytest.raises(OSError, match="large") as caught:
        write_private_file(path, bytes(4096))
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"new"
    assert left_in(tmp_path) == ["a.json"]


def test_a_full_disk_is_an_error_when_it_is_written(tmp_path: Path) -> None:
    with largest_file(1024), PartialFile(tmp_path) as partial:
        partial.write([bytes(1024)])
        with pytest.raises(OSError, match="large"):
            partial.write([b"x"])
    assert left_in(tmp_path) == []


def test_a_folder_in_place_of_the_name_is_an_error_and_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        write_private_file(tmp_path / "a", b"x")
    assert left_in(tmp_path) == ["a"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        PartialFile(tmp_path / "missing")


def test_a_file_that_is_given_up_while_a_thread_writes_it_is_closed_after_that(
    tmp_path: Path,
) -> None:
    # The reader of a pipe decides how long a write to it lasts.
    read_end, write_end = os.pipe()
    partial = PartialFile(tmp_path)
    os.dup2(write_end, partial._descriptor or 0)  # noqa: SLF001  no other way to make it slow
    os.close(write_end)
    length = 1 << 20
    writer = threading.Thread(target=partial.write, args=([bytes(length)],))
    writer.start()
    assert os.read(read_end, 1), "the thread writes"
    discarder = threading.Thread(target=partial.discard)
    discarder.start()
    got = 1
    while chunk := os.read(read_end, 1 << 16):
        got += len(chunk)
    writer.join()
    discarder.join()
    os.close(read_end)
    assert got == length, "the descriptor was closed under the writer"
    assert left_in(tmp_path) == []
