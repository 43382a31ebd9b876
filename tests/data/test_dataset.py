"""Order, batches and changes of images."""

import threading

import numpy as np
import pytest
import torch

from medmm.config.schema import AugmentConfig
from medmm.data.cache import ImageCache
from medmm.data.dataset import Sample, StudyDataset, ahead
from medmm.data.transforms import augment

STILL = AugmentConfig(shift=0, rotate_deg=0, scale=0, intensity=0)


def dataset(number=70, changes=None, seed=0):
    generator = np.random.default_rng(1)
    stored = generator.integers(0, 65536, (number + 1, 1, 32, 32), dtype=np.uint16)
    rows = {f"s{i}": (i,) for i in range(number)} | {"s0": (0, number)}
    lengths = generator.integers(1, 20, number)
    samples = [
        Sample(f"s{i}", {"ids": np.arange(n, dtype=np.int64), "number": np.array(i)}, int(n))
        for i, n in enumerate(lengths)
    ]
    return StudyDataset(ImageCache(stored, rows), samples, {"ids": -100}, seed, changes)


def test_the_order_comes_from_seed_and_epoch():
    own = [np.concatenate(dataset().order(epoch, 8)) for epoch in (0, 1)]
    np.testing.assert_array_equal(own[0], np.concatenate(dataset().order(0, 8)))
    assert (own[0] != own[1]).any()
    assert (own[0] != np.concatenate(dataset(seed=1).order(0, 8))).any()


def test_an_epoch_shows_no_study_twice_and_leaves_out_less_than_a_batch():
    batches = dataset().order(3, 8)
    assert [len(batch) for batch in batches] == [8] * 8
    assert len(set(np.concatenate(batches).tolist())) == 64
    left_out = [set(range(70)) - set(np.concatenate(dataset().order(epoch, 8)).tolist()) for epoch in range(4)]
    assert len({frozenset(one) for one in left_out}) == 4
    assert [len(batch) for batch in dataset(5).order(0, 8)] == [5]


def test_a_batch_mixes_short_and_long_texts():
    data = dataset(640)
    lengths = np.array([sample.length for sample in data.samples])
    means = [lengths[batch].mean() for batch in data.order(0, 64)]
    assert np.std(means) < 1.5 * lengths.std() / np.sqrt(64)


def test_every_sample_once_in_turn():
    batches = dataset().in_turn(16)
    assert sorted(np.concatenate(batches).tolist()) == list(range(70))
    assert max(map(len, batches)) == 16


def test_a_batch_in_another_order_is_the_batch_of_that_order():
    data = dataset()
    one = data.batch([4, 2, 9], None).reordered(torch.tensor([2, 0, 1]))
    other = data.batch([9, 4, 2], None)
    assert one.study_ids == other.study_ids
    for name in ("images", "view_mask"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert all(torch.equal(one.targets[name], other.targets[name]) for name in other.targets)


def test_a_batch_holds_views_mask_and_padded_targets():
    data = dataset()
    batch = data.batch([0, 1, 2], None)
    assert batch.study_ids == ("s0", "s1", "s2")
    assert batch.images.shape == (3, 2, 1, 32, 32)
    assert batch.view_mask.tolist() == [[True, True], [True, False], [True, False]]
    assert torch.equal(batch.images[1, 1], torch.zeros(1, 32, 32))
    np.testing.assert_allclose(batch.images[0].numpy(), data.cache.views("s0"))
    lengths = [sample.length for sample in data.samples[:3]]
    assert batch.targets["ids"].shape == (3, max(lengths))
    assert [int((row >= 0).sum()) for row in batch.targets["ids"]] == lengths
    assert batch.targets["number"].tolist() == [0, 1, 2]


def test_changes_come_from_seed_epoch_and_study_whatever_the_batch():
    changed = dataset(changes=AugmentConfig())
    one, other = changed.batch([4, 9], 2), changed.batch([9, 11, 3], 2)
    assert torch.equal(one.images[1, 0], other.images[0, 0])
    assert not torch.equal(one.images[1], changed.batch([9], 3).images[0])
    assert not torch.equal(one.images[1], dataset(changes=AugmentConfig(), seed=5).batch([9], 2).images[0])
    np.testing.assert_allclose(dataset(changes=AugmentConfig()).batch([9], None).images[0], changed.cache.views("s9"))


def pixels(side=64):
    """A picture without symmetry: a bright blob at the upper left, a faint one at the lower right."""
    y, x = np.mgrid[:side, :side] / side
    blobs = np.exp(-((x - 0.3) ** 2 + (y - 0.3) ** 2) / 0.01) + 0.4 * np.exp(-((x - 0.6) ** 2 + (y - 0.75) ** 2) / 0.01)
    return np.rint(blobs / blobs.max() * 60000).astype(np.uint16)[None, None]


def test_without_changes_the_image_stays():
    np.testing.assert_allclose(augment(pixels(), STILL, np.random.default_rng(0)), pixels() / 65535, atol=1e-6)


def test_images_are_never_mirrored():
    for seed in range(50):
        seen = augment(pixels(), AugmentConfig(), np.random.default_rng(seed))[0, 0]
        like, mirrored = (
            np.corrcoef(seen.ravel(), one.ravel())[0, 1] for one in (pixels()[0, 0], pixels()[0, 0, :, ::-1])
        )
        assert like > 0.6 > mirrored


def test_a_shift_is_as_far_as_asked_for_and_all_views_move_alike():
    wide = AugmentConfig(shift=0.25, rotate_deg=0, scale=0, intensity=0)
    moved = []
    for seed in range(40):
        seen = augment(np.repeat(pixels(), 2, axis=0), wide, np.random.default_rng(seed))
        np.testing.assert_array_equal(seen[0], seen[1])
        row, column = np.unravel_index(seen[0, 0].argmax(), (64, 64))
        moved.append((row - 19, column - 19))
    assert np.abs(moved).max() in (15, 16, 17)
    assert np.std(moved) > 5


def test_brightness_and_contrast_stay_in_range_and_bounds():
    strong = AugmentConfig(shift=0, rotate_deg=0, scale=0, intensity=0.2)
    grey = np.full((1, 1, 16, 16), 32768, np.uint16)
    levels = [float(augment(grey, strong, np.random.default_rng(seed)).mean()) for seed in range(200)]
    assert 0.4 - 1e-3 <= min(levels) < 0.42
    assert 0.58 < max(levels) <= 0.6 + 1e-3
    spread = [augment(pixels(), strong, np.random.default_rng(seed)) for seed in range(20)]
    assert min(one.min() for one in spread) >= 0
    assert max(one.max() for one in spread) <= 1


@pytest.mark.parametrize("depth", [0, 2])
def test_batches_ahead_are_the_same(depth):
    data = dataset()
    made = ahead((data.batch([i], None) for i in range(6)), depth)
    assert [batch.study_ids for batch in made] == [(f"s{i}",) for i in range(6)]


def test_an_error_in_the_thread_reaches_the_reader_and_the_thread_ends():
    def broken():
        yield dataset().batch([0], None)
        raise OSError("gone")

    made = ahead(broken(), 2)
    next(made)
    with pytest.raises(OSError, match="gone"):
        next(made)
    endless = ahead(iter(lambda: dataset(3).batch([0], None), None), 2)
    next(endless)
    endless.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "medmm-batches"]
