"""Patches: cut and put back, hidden in the right number, and hidden before the encoder sees them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medmm.config.schema import PreprocessConfig
from medmm.models.completion import Completion, hide
from medmm.models.image_encoder import ImageTokens


class Looker(nn.Module):
    """An encoder that keeps what it was shown."""

    def __init__(self, grid, width=4):
        super().__init__()
        self.grid, self.width, self.seen = grid, width, None

    def forward(self, images):
        self.seen = images
        return ImageTokens(torch.zeros(len(images), int(np.prod(self.grid)), self.width), self.grid)


CASES = [((2, 2), (32, 32)), ((3, 3), (33, 33)), ((3, 3), (36, 36)), ((2, 3, 3), (20, 40, 40))]


def made(grid, shape):
    config = SimpleNamespace(size=shape[-1], depth=shape[0] if len(shape) == 3 else None)
    torch.manual_seed(0)
    return Completion(Looker(grid), config), torch.rand(2, 1, *shape)


@pytest.mark.parametrize(("grid", "shape"), CASES)
def test_patches_put_together_are_the_image_and_hidden_ones_are_not_seen(grid, shape):
    completion, images = made(grid, shape)
    patches = completion.patches(images)
    hidden = hide(2, int(np.prod(grid)), 0.5, torch.device("cpu"))
    encoder = Looker(grid)
    with torch.no_grad():
        completion.grey.fill_(-3.0)
    completion(encoder, images, hidden)
    for number, cell in enumerate(np.ndindex(grid)):
        place = tuple(slice(at * side, (at + 1) * side) for at, side in zip(cell, completion.sides, strict=True))
        for one in range(2):
            there = images[(one, 0, *place)]
            patch = patches[one, number].reshape(completion.sides)
            kept = tuple(slice(0, length) for length in there.shape)
            torch.testing.assert_close(patch[kept], there)
            assert patch.sum() == pytest.approx(float(there.sum()), rel=1e-5)  # beyond the edge nothing
            shown = encoder.seen[(one, 0, *place)]
            assert bool((shown == -3.0).all()) if hidden[one, number] else torch.equal(shown, there)


def test_what_is_to_be_told_is_normalised_a_patch():
    completion, images = made((2, 2), (32, 32))
    told, truth = completion(Looker((2, 2)), images, torch.ones(2, 4, dtype=torch.bool))
    cut = completion.patches(images).numpy()
    wanted = (cut - cut.mean(-1, keepdims=True)) / (cut.std(-1, ddof=1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(truth.numpy(), wanted, atol=1e-5)
    assert told.shape == truth.shape == (2, 4, 256)
    flat = completion(Looker((2, 2)), torch.full_like(images, 0.3), torch.ones(2, 4, dtype=torch.bool))[1]
    assert torch.isfinite(flat).all()


@pytest.mark.parametrize(("cells", "share", "number"), [(16, 0.6, 10), (16, 0.0, 1), (16, 1.0, 15), (1, 0.6, 0)])
def test_so_many_are_hidden_in_every_image(cells, share, number):
    torch.manual_seed(0)
    hidden = hide(7, cells, share, torch.device("cpu"))
    assert hidden.sum(1).tolist() == [number] * 7
    torch.manual_seed(0)
    assert torch.equal(hide(7, cells, share, torch.device("cpu")), hidden)
    assert number in (0, cells) or len({tuple(row.tolist()) for row in hidden}) > 1


def test_a_completion_is_made_for_the_grid_of_its_encoder():
    config = PreprocessConfig(size=36)
    assert Completion(Looker((3, 3)), config).sides == (12, 12)
