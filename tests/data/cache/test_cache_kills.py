"""The cache after kills, under two writers, and when its files are spoiled."""

import gc
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from medmm.config.schema import PreprocessConfig
from medmm.data.cache import read_view

SMALL = PreprocessConfig(size=32)
ROW = 32 * 32 * 2


PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from medmm.config.schema import CacheConfig, PreprocessConfig
from medmm.data import catalogue, decoding, shards
from medmm.data.cache import ImageCache
from medmm.types import ImageRef, Study

root, place, log, *paths = sys.argv[1:]
kill = lambda *words: os.kill(os.getpid(), signal.SIGKILL)
attempt, pwrite, publish, create = decoding.attempt, os.pwrite, catalogue.Catalogue.publish, shards.create

def logged(job, *more):
    with open(log, "a") as file:
        file.write(job.source.name + "\\n")
    if place == "two writers":
        time.sleep(0.02)
    return attempt(job, *more)
decoding.attempt = logged

def half(file, data, offset):
    pwrite(file, data[: len(data) // 2], offset)
    kill()
if place == "half a row":
    os.pwrite = half
if place == "before publishing":
    catalogue.Catalogue.publish = kill
if place == "after publishing":
    catalogue.Catalogue.publish = lambda *words: (publish(*words), kill())
if place == "new shard":
    shards.create = lambda path: (create(path), path.suffix == ".rows" and kill())
if place == "within a transaction":
    rows = catalogue.Catalogue._rows
    catalogue.Catalogue._rows = lambda *words: (rows(*words), kill())
if place == "two writers":
    Path(f"{log}.{os.getpid()}").touch()
    while len(list(Path(log).parent.glob(Path(log).name + ".*"))) < 2:
        time.sleep(0.01)
studies = [Study(f"s{number}", "p", (ImageRef(path=Path(path)),)) for number, path in enumerate(paths)]
shared = CacheConfig(root=root, limit_gb=1)
cache, aside = ImageCache.build(studies, PreprocessConfig(size=32), Path(root + " own"), 1, 0, shared=shared)
print(aside, repr(sum(float(cache.views(f"s{number}").sum(dtype="float64")) for number in range(len(paths)))))
"""


def program(root, place, log, paths):
    command = [sys.executable, "-c", PROGRAM, str(root), place, str(log), *map(str, paths)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_at_any_moment_it_is_whole(paths, root, build, decoded, tmp_path, picture, require_right):
    log = tmp_path / "log"
    places = ("new shard", "half a row", "before publishing", "within a transaction", "after publishing")
    for place in places:
        run = program(root, place, log, paths)
        _, said = run.communicate()
        assert run.returncode == -signal.SIGKILL, (place, said)
        log.unlink(missing_ok=True)
        if place == "before publishing":
            gc.collect()
            decoded.clear()
            cache, _ = build(paths[:2])
            assert len(decoded) == 2  # written but never published: not trusted
            require_right(cache, paths[:2])
    decoded.clear()
    cache, aside = build(paths)
    assert (decoded, aside) == ([], [])  # all was published before the last kill
    require_right(cache, paths)
    catalogue = sqlite3.connect(root / "index.sqlite")
    assert catalogue.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert catalogue.execute("SELECT count(*), count(DISTINCT key) FROM images").fetchone() == (6, 6)
    build([picture(tmp_path / "more.png", 50)])
    known = {f"{name}.rows" for (name,) in catalogue.execute("SELECT name FROM shards")}
    assert {path.name for path in root.glob("*.rows")} == known  # what a kill left without an entry is swept
    assert not list(root.glob("*.writer"))


def test_two_writers_share_the_work(root, tmp_path, picture):
    paths = [picture(tmp_path / f"{number}.png", number) for number in range(100)]
    log = tmp_path / "log"
    both = [program(root, "two writers", log, order) for order in (paths, paths[50:] + paths[:50])]
    said = [run.communicate() for run in both]
    assert [run.returncode for run in both] == [0, 0], said
    read = log.read_text().split()
    assert sorted(read) == sorted(path.name for path in paths)  # each image once, by one of them
    wanted = sum(float(read_view(path, SMALL).sum(dtype="float64")) for path in paths)
    for words, _ in said:
        aside, total = words.split()
        assert aside == "[]"
        assert float(total) == pytest.approx(wanted, rel=1e-12)


def begun(log, lines):
    """Wait until a program has begun to read so many images."""
    while not (log.exists() and len(log.read_text().splitlines()) >= lines):
        time.sleep(0.002)


def test_what_a_living_writer_has_claimed_is_waited_for(paths, root, build, decoded, tmp_path, require_right):
    (tmp_path / "log.0").touch()  # it need not wait for a second one
    other = program(root, "two writers", tmp_path / "log", paths)
    begun(tmp_path / "log", 1)
    cache, aside = build(paths)
    assert (decoded, aside) == ([], [])
    require_right(cache, paths)
    assert other.wait() == 0


def test_a_writer_that_is_killed_while_another_waits_for_it_is_replaced(
    paths, root, build, decoded, tmp_path, require_right
):
    (tmp_path / "log.0").touch()
    other = program(root, "two writers", tmp_path / "log", paths)
    begun(tmp_path / "log", 2)
    other.send_signal(signal.SIGSTOP)
    threading.Timer(0.3, other.kill).start()
    cache, aside = build(paths)
    assert other.wait() == -signal.SIGKILL
    assert (len(decoded), aside) == (6, [])  # none was published yet
    require_right(cache, paths)


def test_a_catalogue_that_is_damaged_is_made_anew(paths, root, build, decoded, require_right):
    build(paths)
    (root / "index.sqlite").write_bytes(b"nothing that SQLite knows" * 500)
    decoded.clear()
    cache, aside = build(paths)
    assert (len(decoded), aside, cache.notes) == (6, [], ())
    require_right(cache, paths)
    assert len(list(root.glob("*.rows"))) == 1


def test_a_catalogue_of_another_format_is_made_anew(paths, root, build, decoded, require_right):
    build(paths)
    other = sqlite3.connect(root / "index.sqlite")
    other.execute("PRAGMA user_version = 99")
    other.close()
    require_right(build(paths)[0], paths)
    assert len(decoded) == 12


@pytest.mark.parametrize("how", ["a bit", "cut off", "gone"])
def test_spoiled_rows_are_read_anew(how, paths, root, build, decoded, require_right):
    build(paths)
    (rows,) = root.glob("*.rows")
    whole = rows.read_bytes()
    if how == "gone":
        rows.unlink()
    elif how == "a bit":
        rows.write_bytes(whole[:ROW] + bytes([whole[ROW] ^ 4]) + whole[ROW + 1 :])
    else:
        rows.write_bytes(whole[: 4 * ROW + 100])
    decoded.clear()
    cache, aside = build(paths)
    assert (len(decoded), aside) == ({"a bit": 1, "cut off": 2, "gone": 6}[how], [])
    require_right(cache, paths)
