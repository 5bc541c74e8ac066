"""The object cache: whole entries or none, damaged ones made anew, a size that is kept."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opweave.compiler import cache_folder
from opweave.compiler.atomic import move_atomically, write_atomically
from opweave.compiler.cache import Cache, CacheWarning, is_intact
from opweave.ir import ModelError


def only_entry(folder: Path) -> Path:
    (entry,) = cache_folder.entries(folder)
    return entry.path


def test_what_is_put_is_got(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.get(b"key") is None
    cache.put(b"key", b"payload")
    assert Cache(tmp_path).get(b"key") == b"payload"
    assert is_intact(only_entry(tmp_path))
    assert Cache(None).get(b"key") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:10],
        lambda content: b"",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content + b"more",
    ],
)
def test_damaged_entries_are_told_of_and_made_anew(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    cache = Cache(tmp_path)
    cache.put(b"key", b"payload")
    path = only_entry(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert not is_intact(path)
    with pytest.warns(CacheWarning, match="damaged"):
        assert cache.get(b"key") is None
    cache.put(b"key", b"payload")
    assert cache.get(b"key") == b"payload"


def test_many_damaged_entries_are_told_of_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    keys = [bytes([number]) for number in range(5)]
    for key in keys:
        cache.put(key, b"payload")
    for entry in cache_folder.entries(tmp_path):
        entry.path.write_bytes(b"something else")
    with pytest.warns(CacheWarning) as told:
        assert [cache.get(key) for key in keys] == [None] * 5
    assert len(told) == 1


def test_a_failed_write_names_the_file(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"begun"
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "net.owx").write_bytes(b"old")
    with pytest.raises(OSError, match=r"No space left.*net\.owx"):
        write_atomically(tmp_path / "net.owx", pieces())
    assert [file.name for file in tmp_path.iterdir()] == ["net.owx"]
    assert (tmp_path / "net.owx").read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in the file system")
@pytest.mark.parametrize("through_link", [False, True])
def test_pipes_are_written_to_and_not_replaced(tmp_path: Path, through_link: bool) -> None:
    pipe, source = tmp_path / "pipe", tmp_path / "source"
    os.mkfifo(pipe)
    path = tmp_path / "link" if through_link else pipe
    if through_link:
        path.symlink_to(pipe)
    source.write_bytes(b"moved")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # keeps what is written until it is read
    write_atomically(path, [b"one", memoryview(b" two")])
    assert os.read(reader, 100) == b"one two"
    move_atomically(source, path)
    assert os.read(reader, 100) == b"moved"
    os.close(reader)
    assert not source.exists()
    assert path.is_symlink() == through_link
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_links_stay_and_what_they_stand_for_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link, source = (tmp_path / name for name in ("folder/target", "link", "source"))
    link.symlink_to(target)
    write_atomically(link, [b"new"])  # what it stands for need not be there
    assert target.read_bytes() == b"new"
    source.write_bytes(b"newer")
    move_atomically(source, link)
    assert target.read_bytes() == b"newer"
    assert link.is_symlink()
    assert not source.exists()
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_an_entry_under_another_name_is_not_taken(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(b"one", b"payload")
    one = only_entry(tmp_path)
    cache.put(b"other", b"else")
    (other,) = (e.path for e in cache_folder.entries(tmp_path) if e.path != one)
    os.replace(one, other)
    with pytest.warns(CacheWarning, match="damaged"):
        assert cache.get(b"other") is None


def test_the_limit_is_kept_and_what_was_used_last_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=10_000)
    for number in range(40):
        cache.put(b"%d" % number, bytes(1000))
        for entry in cache_folder.entries(tmp_path):
            os.utime(entry.path, (entry.used - 100, entry.used - 100))
        if number:
            assert cache.get(b"0") is not None  # in use all the time
    assert sum(entry.nbytes for entry in cache_folder.entries(tmp_path)) <= 12_000
    assert cache.get(b"39") is not None
    assert cache.get(b"5") is None


def test_leftovers_go_and_other_files_stay(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(b"key", b"payload")
    folder = only_entry(tmp_path).parent
    (folder / ".new-young").write_bytes(b"")
    (folder / ".new-old").write_bytes(b"")
    hours_ago = time.time() - 7200
    os.utime(folder / ".new-old", (hours_ago, hours_ago))
    (folder / "notes.txt").write_bytes(b"mine")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / ("0" * 62)).write_bytes(b"mine")
    assert cache_folder.prune(tmp_path, 1 << 20).files == 1
    assert cache_folder.clear(tmp_path).files == 2
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"notes.txt", "0" * 62}


@pytest.mark.parametrize(
    ("text", "nbytes"), [("500M", 500 << 20), ("2G", 2 << 30), ("7", 7), ("3 k", None), ("", None)]
)
def test_limits_as_texts(text: str, nbytes: int | None) -> None:
    if nbytes is not None:
        assert cache_folder.shown_limit(text) == nbytes
    elif text:
        with pytest.raises(ModelError, match="no size"):
            cache_folder.shown_limit(text)
    else:
        assert cache_folder.shown_limit(text) == cache_folder.DEFAULT_LIMIT


def opweave(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OPWEAVE_CACHE_DIR": str(folder)}
    command = [sys.executable, "-m", "opweave", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_verb(tmp_path: Path) -> None:
    Cache(tmp_path).put(b"key", b"payload")
    Cache(tmp_path).put(b"other", b"payload")
    path = cache_folder.entries(tmp_path)[0].path
    path.write_bytes(b"nothing")
    info = json.loads(opweave(tmp_path, "cache", "info", "--json").stdout)
    assert (info["entries"], info["folder"]) == (2, str(tmp_path))
    verified = opweave(tmp_path, "cache", "verify", "--json")
    assert verified.returncode == 1
    assert json.loads(verified.stdout)["damaged"] == [str(path)]
    assert opweave(tmp_path, "cache", "verify").returncode == 0
    cleared = json.loads(opweave(tmp_path, "cache", "clear", "--json").stdout)
    assert cleared["removed"]["files"] == 1
    assert cache_folder.entries(tmp_path) == []


WRITER = """
import sys
from pathlib import Path
from opweave.compiler.cache import Cache
cache = Cache(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(10**9):
    cache.put(b"%d" % (number % 5), bytes([number % 251]) * 300_000)
"""


def test_a_killed_writer_leaves_whole_entries(tmp_path: Path) -> None:
    for number in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.002 * number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert all(is_intact(entry.path) for entry in cache_folder.entries(tmp_path))
    cache = Cache(tmp_path)
    for number in range(5):
        payload = cache.get(b"%d" % number)
        assert payload is None or (len(payload) == 300_000 and len(set(payload)) == 1)
