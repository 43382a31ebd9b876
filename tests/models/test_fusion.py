"""Words that look at an image: masks hold, and gates begin closed."""

import pytest
import torch

from medmm.config.pretraining import FusionConfig
from medmm.models.fusion import Fusion

B, T, M, K, WIDE = 3, 5, 6, 8, 12
WORDS = torch.arange(T)[None] < torch.tensor([5, 3, 1])[:, None]
REGIONS = torch.arange(M)[None] < torch.tensor([6, 3, 0])[:, None]


@pytest.fixture(params=["concat", "cross", "gated"])
def fusion(request):
    torch.manual_seed(0)
    made = Fusion(FusionConfig(kind=request.param, layers=2), K, WIDE, heads=2)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)  # gates too
    return made.eval()


@pytest.fixture
def shown():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(B, T, K, generator=generator), torch.randn(B, M, WIDE, generator=generator)


def test_the_image_changes_the_words_of_the_studies_that_have_one(fusion, shown):
    words, image = shown
    before, after = fusion(words, WORDS, image, REGIONS), fusion(words, WORDS, image + 1.5 * torch.randn(M, 1), REGIONS)
    moved = (before - after).abs().amax((1, 2))
    assert (moved[:2] > 1e-3).all()
    assert moved[2] == 0


def test_padding_and_absent_views_change_nothing(fusion, shown):
    words, image = shown
    found = fusion(words, WORDS, image, REGIONS)
    others = fusion(
        words.masked_fill(~WORDS[..., None], 9.0), WORDS, image.masked_fill(~REGIONS[..., None], -9.0), REGIONS
    )
    torch.testing.assert_close(others[WORDS], found[WORDS])
    short = fusion(words[1:2, :3], WORDS[1:2, :3], image[1:2, :3], REGIONS[1:2, :3])
    torch.testing.assert_close(short[0], found[1, :3], atol=1e-5, rtol=1e-4)


def test_a_study_without_image_works_beside_others_and_gives_gradients(fusion, shown):
    words, image = shown
    found = fusion(words, WORDS, image, torch.zeros(B, M, dtype=torch.bool))
    assert torch.isfinite(found).all()
    found.square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in fusion.parameters() if weight.grad is not None)


def test_closed_gates_are_as_if_there_were_no_image(shown):
    torch.manual_seed(0)
    fusion = Fusion(FusionConfig(kind="gated"), K, WIDE, heads=2)
    words, image = shown
    without = fusion(words, WORDS, image, torch.zeros_like(REGIONS))
    torch.testing.assert_close(fusion(words, WORDS, image, REGIONS), without, atol=0, rtol=0)
