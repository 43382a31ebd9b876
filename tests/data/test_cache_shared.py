"""The store that runs share: found by content, bounded, whole after a kill, one for two writers."""

import errno
import gc
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from medmm.config.schema import CacheConfig, PreprocessConfig
from medmm.data import content, decoding
from medmm.data.cache import ImageCache, read_view, shared_root
from medmm.errors import Reason, ResourceError
from medmm.types import ImageRef, Study

SMALL = PreprocessConfig(size=32)
ROW = 32 * 32 * 2


def picture(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 65536, (40, 40), dtype=np.uint16)
    assert cv2.imwrite(str(path), pixels)
    return path


def study(name, *paths):
    return Study(study_id=name, patient_key=name, images=tuple(ImageRef(path=path) for path in paths))


@pytest.fixture
def paths(tmp_path):
    return [picture(tmp_path / f"{number}.png", number) for number in range(6)]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def build(tmp_path, root):
    def call(paths, limit_gb=1.0, preprocess=SMALL, workers=0, **more):
        shared = CacheConfig(root=more.pop("root", root), limit_gb=limit_gb)
        studies = [study(f"s{number}", path) for number, path in enumerate(paths)]
        return ImageCache.build(studies, preprocess, tmp_path / "run", 1, workers, shared=shared)

    return call


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded."""
    names, attempt = [], decoding.attempt
    monkeypatch.setattr(decoding, "attempt", lambda job, *more: names.append(job.path.name) or attempt(job, *more))
    return names


def require_right(cache, paths):
    for number, path in enumerate(paths):
        np.testing.assert_array_equal(cache.views(f"s{number}")[0], read_view(path, SMALL))


def size_of(root):
    return sum(path.stat().st_blocks * 512 for path in root.glob("*.rows"))


def test_the_same_image_under_another_path_is_there_already(paths, build, decoded, tmp_path):
    build(paths)
    assert sorted(decoded) == sorted(path.name for path in paths)
    decoded.clear()
    moved = [shutil.copy(path, tmp_path / f"other {path.name}") for path in paths]
    cache, aside = build([Path(path) for path in moved])
    assert (decoded, aside) == ([], [])
    require_right(cache, paths)
    assert not (tmp_path / "run").exists()


def test_an_image_that_stands_there_twice_is_decoded_once(paths, build, decoded, tmp_path):
    twin = Path(shutil.copy(paths[0], tmp_path / "twin.png"))
    cache, _ = build([*paths, twin, paths[0]])
    assert len(decoded) == 6
    require_right(cache, [*paths, paths[0], paths[0]])


def test_other_preprocessing_or_another_decoder_finds_nothing(paths, build, decoded, monkeypatch):
    build(paths)
    build(paths, preprocess=PreprocessConfig(size=40))
    assert len(decoded) == 12
    build(paths, preprocess=PreprocessConfig(size=32, mean=0.1))  # the model applies it
    assert len(decoded) == 12
    monkeypatch.setattr(content, "_code", lambda: "a later version")
    build(paths)
    assert len(decoded) == 18


def test_an_unchanged_file_is_not_hashed_again_and_one_replaced_under_its_old_times_is(
    paths, build, decoded, monkeypatch
):
    monkeypatch.setattr(content, "_SETTLED_NS", -1)
    build(paths)
    hashed, key = [], content.content_key
    monkeypatch.setattr(content, "content_key", lambda path: hashed.append(path) or key(path))
    build(paths)
    assert hashed == []
    before = paths[2].stat()
    flipped = bytearray(paths[2].read_bytes())
    other = picture(paths[2].with_name("new.png"), 77).read_bytes()
    flipped = other + bytes(max(0, before.st_size - len(other)))
    paths[2].write_bytes(flipped[: before.st_size] if len(other) > before.st_size else flipped)
    os.utime(paths[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (paths[2].stat().st_size, paths[2].stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    decoded.clear()
    cache, _ = build(paths)
    assert (hashed, decoded) == ([paths[2]], ["2.png"])
    require_right(cache, paths)


def test_a_file_just_written_is_hashed_again(paths, build, monkeypatch):
    build(paths)
    hashed, key = [], content.content_key
    monkeypatch.setattr(content, "content_key", lambda path: hashed.append(path) or key(path))
    build(paths)
    assert hashed == paths


def test_what_gives_no_image_is_remembered_with_its_reason_but_not_what_may_come_back(tmp_path, build, decoded):
    broken, missing = tmp_path / "broken.png", tmp_path / "missing.png"
    broken.write_bytes(b"no image at all")
    first = build([broken, missing])[1]
    assert [one.reason for one in first] == [Reason.NOT_AN_IMAGE, Reason.FILE_MISSING]
    decoded.clear()
    assert build([broken, missing])[1] == first
    assert decoded == ["missing.png"]
    picture(missing, 5)
    cache, aside = build([broken, missing])
    assert aside == first[:1]
    np.testing.assert_array_equal(cache.views("s1")[0], read_view(missing, SMALL))


def test_a_file_that_changes_while_it_is_read_is_not_kept_under_its_old_key(paths, build, decoded, monkeypatch):
    old = Path(shutil.copy(paths[0], paths[0].with_name("old.png")))
    attempt = decoding.attempt

    def replaced(job, *more):
        picture(job.path, 99)
        return attempt(job, *more)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "attempt", replaced)
        cache, _ = build(paths[:1])
    np.testing.assert_array_equal(cache.views("s0")[0], read_view(paths[0], SMALL))
    require_right(build([old])[0], [old])


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
        file.write(job.path.name + "\\n")
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


def test_killed_at_any_moment_it_is_whole(paths, root, build, decoded, tmp_path):
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


def test_two_writers_share_the_work(root, tmp_path):
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


def test_a_dead_writers_claims_are_taken_over_at_once_and_a_living_ones_are_waited_for(paths, root, build, tmp_path):
    living = program(root, "two writers", tmp_path / "log", paths)  # waits for a second one before it begins
    (tmp_path / "log.0").touch()
    assert living.wait() == 0
    assert build(paths)[1] == []


def test_processes_fill_it_as_well(paths, build, decoded):
    cache, aside = build(paths, workers=2)
    assert aside == []
    require_right(cache, paths)
    assert build(paths)[1] == []
    assert decoded == []  # in this process nothing was


def test_what_was_not_used_for_longest_goes_first_and_the_bound_holds(paths, root, build, decoded):
    limit = 4.5 * ROW / 1e9
    for path in paths[:4]:
        build([path], limit_gb=limit)
    build(paths[:1], limit_gb=limit)  # used again
    gc.collect()
    build(paths[4:5], limit_gb=limit)
    gc.collect()
    assert len(list(root.glob("*.rows"))) == 4
    decoded.clear()
    build([paths[0], paths[2], paths[3], paths[4]], limit_gb=limit)
    assert decoded == []
    cache, _ = build(paths[1:2], limit_gb=limit)
    assert decoded == ["1.png"]
    require_right(cache, paths[1:2])
    del cache
    gc.collect()
    build([], limit_gb=2 * ROW / 1e9)
    assert build([], limit_gb=1)[0].rows == {}
    assert len(list(root.glob("*.rows"))) == 4  # nothing was asked for, so the store was not even opened
    build(paths[:1], limit_gb=2.5 * ROW / 1e9)
    assert len(list(root.glob("*.rows"))) == 2


def test_what_is_in_use_stays_and_the_rest_lies_in_the_runs_own_folder(paths, root, build, tmp_path):
    limit = 3.5 * ROW / 1e9
    held, _ = build(paths[:3], limit_gb=limit)
    assert held.notes == ()
    rest, aside = build(paths[3:], limit_gb=limit)
    assert aside == []
    assert ["no room" in note for note in rest.notes] == [True]
    require_right(held, paths[:3])
    require_right(rest, paths[3:])
    assert len(list(root.glob("*.rows"))) == 3
    assert list((tmp_path / "run").glob("*.rows"))
    views = held.stored[0]
    del held
    gc.collect()
    again, _ = build(paths[3:5], limit_gb=limit)  # views of the first shard are still held
    np.testing.assert_array_equal(views.astype(np.float32) / np.float32(65535), read_view(paths[0], SMALL))
    assert again.notes == ()
    assert len(list(root.glob("*.rows"))) == 3


def test_one_run_larger_than_the_bound_spills_over(paths, root, build):
    cache, aside = build(paths, limit_gb=2.5 * ROW / 1e9)
    assert aside == []
    require_right(cache, paths)
    assert sum(path.stat().st_size for path in root.glob("*.rows")) == 2 * ROW


def test_a_limit_of_0_keeps_images_out_of_the_shared_folder(paths, root, build, tmp_path):
    cache, _ = build(paths, limit_gb=0)
    require_right(cache, paths)
    assert not root.exists()
    assert list((tmp_path / "run").glob("*.rows"))


@pytest.mark.parametrize("kind", ["a file in the way", "read-only"])
def test_a_root_that_cannot_be_written_is_said_and_the_run_goes_on(kind, paths, root, build, monkeypatch):
    if kind == "read-only":
        real = os.open

        def refuse(path, *words, **more):
            if Path(path).parent == root:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return real(path, *words, **more)

        monkeypatch.setattr(os, "open", refuse)
    else:
        root.write_text("")
    cache, aside = build(paths)
    assert aside == []
    require_right(cache, paths)
    (note,) = cache.notes
    assert "cannot be used" in note
    assert str(root) not in note


def test_a_catalogue_that_is_damaged_is_made_anew(paths, root, build, decoded):
    build(paths)
    (root / "index.sqlite").write_bytes(b"nothing that SQLite knows" * 500)
    decoded.clear()
    cache, aside = build(paths)
    assert (len(decoded), aside, cache.notes) == (6, [], ())
    require_right(cache, paths)
    assert len(list(root.glob("*.rows"))) == 1


def test_a_catalogue_of_another_format_is_made_anew(paths, root, build, decoded):
    build(paths)
    other = sqlite3.connect(root / "index.sqlite")
    other.execute("PRAGMA user_version = 99")
    other.close()
    require_right(build(paths)[0], paths)
    assert len(decoded) == 12


@pytest.mark.parametrize("how", ["a bit", "cut off", "gone"])
def test_spoiled_rows_are_read_anew(how, paths, root, build, decoded):
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


def test_a_full_disk_is_said_by_name(paths, build, monkeypatch):
    def full(*words):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(ResourceError, match=f"{6 * ROW:,} bytes"):
            build(paths)
    require_right(build(paths)[0], paths)


def test_a_folder_counts_as_the_files_in_it_whatever_their_names(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, names in ((one, "ab"), (other, "ba")):
        folder.mkdir()
        for number, name in enumerate(names):
            picture(folder / f"{name}.png", number)
    assert content.content_key(one) == content.content_key(other)
    assert content.stamp(one) != content.stamp(other)
    picture(other / "b.png", 7)
    assert content.content_key(one) != content.content_key(other)
    assert content.content_key(tmp_path / "absent") is None


def test_a_pipe_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert content.content_key(tmp_path / "pipe") is None
    assert content.stamp(tmp_path / "pipe") is None


def test_a_batch_is_its_studies_views_with_zeros_for_those_that_lack(paths, tmp_path):
    studies = [study("one", paths[0]), study("two", paths[1], paths[2])]
    cache, _ = ImageCache.build(studies, SMALL, tmp_path / "run", 2)
    batch = cache.batch(["two", "one", "two"])
    assert (batch.dtype, batch.shape) == (np.float32, (3, 2, 1, 32, 32))
    np.testing.assert_array_equal(batch[1], [read_view(paths[0], SMALL), np.zeros((1, 32, 32))])
    np.testing.assert_array_equal(batch[0], [read_view(path, SMALL) for path in paths[1:3]])
    again = np.full_like(batch, 9)
    assert cache.batch(["two", "one", "two"], out=again) is again
    np.testing.assert_array_equal(again, batch)


def test_the_root_comes_from_config_environment_or_home(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDMM_CACHE", str(tmp_path))
    assert shared_root(CacheConfig(root=tmp_path / "x")) == tmp_path / "x"
    assert shared_root(CacheConfig()) == tmp_path / "images"
    monkeypatch.delenv("MEDMM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert shared_root(CacheConfig()) == tmp_path / "me" / ".cache" / "medmm" / "images"
