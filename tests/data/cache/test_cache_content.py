"""Images are found by content and preprocessing, whatever their path and run."""

import os
import shutil
from pathlib import Path

import numpy as np

from medmm.config.schema import PreprocessConfig
from medmm.data import content, decoding
from medmm.data.cache import ImageCache, read_view
from medmm.errors import Reason
from medmm.types import ImageRef, Study

SMALL = PreprocessConfig(size=32)
ROW = 32 * 32 * 2


def test_the_same_image_under_another_path_is_there_already(paths, build, decoded, tmp_path, require_right):
    build(paths)
    assert sorted(decoded) == sorted(path.name for path in paths)
    decoded.clear()
    moved = [shutil.copy(path, tmp_path / f"other {path.name}") for path in paths]
    cache, aside = build([Path(path) for path in moved])
    assert (decoded, aside) == ([], [])
    require_right(cache, paths)
    assert not (tmp_path / "run").exists()


def test_an_image_that_stands_there_twice_is_decoded_once(paths, build, decoded, tmp_path, require_right):
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
    paths, build, decoded, monkeypatch, picture, require_right
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


def test_what_gives_no_image_is_remembered_with_its_reason_but_not_what_may_come_back(
    tmp_path, build, decoded, picture
):
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


def test_a_file_that_changes_while_it_is_read_is_not_kept_under_its_old_key(
    paths, build, decoded, monkeypatch, picture, require_right
):
    old = Path(shutil.copy(paths[0], paths[0].with_name("old.png")))
    attempt = decoding.attempt

    def replaced(job, *more):
        picture(job.source, 99)
        return attempt(job, *more)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "attempt", replaced)
        cache, _ = build(paths[:1])
    np.testing.assert_array_equal(cache.views("s0")[0], read_view(paths[0], SMALL))
    require_right(build([old])[0], [old])


def test_processes_fill_it_as_well(paths, build, decoded, require_right):
    cache, aside = build(paths, workers=2)
    assert aside == []
    require_right(cache, paths)
    assert build(paths)[1] == []
    assert decoded == []  # in this process nothing was


def test_a_folder_counts_as_the_files_in_it_whatever_their_names(tmp_path, picture):
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
    studies = [
        Study(name, "p", tuple(ImageRef(path=path) for path in some))
        for name, some in (("one", paths[:1]), ("two", paths[1:3]))
    ]
    cache, _ = ImageCache.build(studies, SMALL, tmp_path / "run", 2)
    batch = cache.batch(["two", "one", "two"])
    assert (batch.dtype, batch.shape) == (np.float32, (3, 2, 1, 32, 32))
    np.testing.assert_array_equal(batch[1], [read_view(paths[0], SMALL), np.zeros((1, 32, 32))])
    np.testing.assert_array_equal(batch[0], [read_view(path, SMALL) for path in paths[1:3]])
    again = np.full_like(batch, 9)
    assert cache.batch(["two", "one", "two"], out=again) is again
    np.testing.assert_array_equal(again, batch)
