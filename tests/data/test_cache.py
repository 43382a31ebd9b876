"""The cache against direct reading."""

import os
import stat
import subprocess
import sys

import cv2
import nibabel as nib
import numpy as np
import pytest

from medmm.config.schema import PreprocessConfig
from medmm.data import child, decoding
from medmm.data.cache import ImageCache, preprocess_hash, read_view
from medmm.errors import ImageError, Reason
from medmm.io.image import read_image
from medmm.types import ImageRef, Study

SMALL = PreprocessConfig(size=32)


def picture(path, seed, side=48):
    pixels = np.random.default_rng(seed).integers(0, 65536, (side, side), dtype=np.uint16)
    assert cv2.imwrite(str(path), pixels)
    return path


def study(name, *paths):
    return Study(study_id=name, patient_key=name, images=tuple(ImageRef(path=path) for path in paths))


def stored(cache):
    """All rows, uint16 ``[R, 1, S, S]``."""
    return np.stack([cache.stored[row] for row in range(len(cache.stored))])


@pytest.fixture
def studies(tmp_path):
    paths = [picture(tmp_path / f"{number}.png", number) for number in range(5)]
    return [study("one", paths[0]), study("two", paths[1], paths[2]), study("three", paths[3], paths[4], paths[0])]


def test_views_are_what_reading_gives(studies, tmp_path):
    cache, aside = ImageCache.build(studies, SMALL, tmp_path / "cache", max_views=2)
    assert aside == []
    assert [len(cache.views(one.study_id)) for one in studies] == [1, 2, 2]
    for one in studies:
        views = cache.views(one.study_id)
        assert (views.dtype, views.shape[1:]) == (np.float32, (1, 32, 32))
        for view, image in zip(views, one.images, strict=False):
            np.testing.assert_allclose(view, read_image(image.path, size=32).array, atol=0.5 / 65535 + 1e-7)
            np.testing.assert_array_equal(view, read_view(image.path, SMALL))


def test_processes_give_the_same_as_none(studies, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    studies.append(study("bad", tmp_path / "bad.png"))
    alone, aside = ImageCache.build(studies, SMALL, tmp_path / "a", max_views=2, workers=0)
    shared, aside_too = ImageCache.build(studies, SMALL, tmp_path / "b", max_views=2, workers=2)
    np.testing.assert_array_equal(stored(alone), stored(shared))
    assert alone.rows == shared.rows
    assert aside == aside_too


def test_an_unreadable_image_gives_way_to_the_next_and_a_study_without_any_stays_out(studies, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image at all")
    good = [image.path for image in studies[2].images]
    given = [study("mixed", broken, good[0], good[1]), study("none", broken), study("good", good[2])]
    cache, aside = ImageCache.build(given, SMALL, tmp_path / "cache", max_views=2)
    assert "none" not in cache
    np.testing.assert_array_equal(cache.views("mixed"), np.stack([read_view(path, SMALL) for path in good[:2]]))
    np.testing.assert_array_equal(cache.views("good")[0], read_view(good[2], SMALL))
    assert sorted((one.study_id, one.reason, one.path) for one in aside) == [
        ("mixed", Reason.NOT_AN_IMAGE, broken),
        ("none", Reason.NOT_AN_IMAGE, broken),
    ]


def test_a_whole_cache_is_opened_again_and_a_changed_file_read_anew(studies, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    first, _ = ImageCache.build(studies, SMALL, folder, max_views=2)
    before = stored(first)
    calls = []
    attempt = decoding.attempt
    monkeypatch.setattr(decoding, "attempt", lambda *words: calls.append(1) or attempt(*words))
    again, _ = ImageCache.build(studies, SMALL, folder, max_views=2)
    assert calls == []
    np.testing.assert_array_equal(before, stored(again))
    path = studies[0].images[0].path
    picture(path, 99)
    os.utime(path, ns=(1, 1))
    changed, _ = ImageCache.build(studies, SMALL, folder, max_views=2)
    assert calls == [1]  # one of the five files
    np.testing.assert_array_equal(changed.views("one")[0], read_view(path, SMALL))
    ImageCache.build(studies, PreprocessConfig(size=40), folder, max_views=2)
    assert calls == [1] * 6


def test_its_files_are_private_and_name_nobody(studies, tmp_path):
    ImageCache.build(studies, SMALL, tmp_path / "cache", max_views=2)
    files = list((tmp_path / "cache").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    words = [b"three", str(tmp_path).encode(), b"4.png"]
    assert not [path for path in files for word in words if word in path.read_bytes() or word in path.name.encode()]


def test_volumes_are_stretched_to_the_depth(tmp_path):
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32), (32, 32, 16)).copy()
    nib.save(nib.Nifti1Image(ramp, np.eye(4)), tmp_path / "volume.nii.gz")
    deep = PreprocessConfig(size=32, depth=8)
    cache, aside = ImageCache.build([study("ct", tmp_path / "volume.nii.gz")], deep, tmp_path / "cache", max_views=1)
    assert aside == []
    whole = read_image(tmp_path / "volume.nii.gz").array
    assert whole.shape[1] == 16
    halves = whole.reshape(1, 8, 2, 32, 32).mean(2)
    np.testing.assert_allclose(cache.views("ct")[0], halves, atol=1e-4)


@pytest.mark.parametrize(("depth", "name"), [(None, "volume.nii.gz"), (8, "flat.png")])
def test_the_wrong_kind_of_image_is_set_aside(depth, name, tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 4), np.float32), np.eye(4)), tmp_path / "volume.nii.gz")
    picture(tmp_path / "flat.png", 0)
    with pytest.raises(ImageError) as caught:
        read_view(tmp_path / name, PreprocessConfig(size=32, depth=depth))
    assert caught.value.reason is Reason.DIMENSIONS_MISMATCH
    cache, aside = ImageCache.build(
        [study("x", tmp_path / name)], PreprocessConfig(size=32, depth=depth), tmp_path / "cache", max_views=1
    )
    got, expected = ("a projection", "a volume") if depth else ("a volume of 4 slices", "a projection")
    assert [one.detail for one in aside] == [f"an image of the wrong kind; got {got}; expected {expected}"]
    assert "x" not in cache


def test_a_reading_process_that_dies_costs_one_image(tmp_path, monkeypatch):
    target = tmp_path / "rows"
    target.write_bytes(bytes(2 * 32 * 32 * 2))
    good = picture(tmp_path / "good.png", 3)
    process = decoding.ReadingProcess(SMALL)
    first, second = (decoding.Job(good, target, offset) for offset in (0, 2 * 32 * 32))
    try:
        assert process.ask(first).reason is None
        running = process.child._running
        monkeypatch.setattr(child, "_send", lambda *_: (running.kill(), running.wait()))  # it dies over this one
        died = process.ask(second)
        monkeypatch.undo()
        assert died.reason is Reason.DECODE_FAILED
        assert "-9" in died.detail
        assert process.ask(second).reason is None
    finally:
        process.end()
    pixels = np.frombuffer(target.read_bytes(), np.uint16).reshape(2, 1, 32, 32)
    np.testing.assert_array_equal(pixels[1], decoding.read_stored(good, SMALL))


def test_a_bug_in_a_reading_process_is_named_without_its_message(capsys):
    def fail(message):
        raise ValueError("DOE^JOHN")

    is_answer, said = child.answer(fail, "x")
    assert not is_answer
    assert said.startswith("ValueError in test_cache.py:")
    assert "DOE" not in said


def test_reading_processes_do_without_the_learning_stack():
    code = (
        "import sys, medmm.data.decoding, medmm.io.image\n"
        "print(','.join({'torch', 'monai', 'transformers', 'mlflow'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "\n"


def test_any_change_of_preprocessing_changes_its_hash():
    hashes = {preprocess_hash(PreprocessConfig(**change)) for change in ({}, {"size": 64}, {"mean": 0.4}, {"std": 0.5})}
    assert len(hashes) == 4
