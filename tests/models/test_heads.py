"""The finding head."""

import torch

from medmm.models.heads import SIDES, FindingQueries, FindingTokens


def head(prevalence=(0.1, 0.5, 0.9), width=32):
    torch.manual_seed(0)
    return FindingQueries(("a", "b", "c"), width, prevalence).eval()


def test_it_starts_about_the_prevalence():
    torch.manual_seed(1)
    with torch.no_grad():
        model = head()
        model.presence.zero_()
        out = model(torch.randn(4, 6, 32), torch.ones(4, 6, dtype=torch.bool))
    torch.testing.assert_close(out.presence_bf.sigmoid(), torch.tensor([[0.1, 0.5, 0.9]]).expand(4, 3))
    assert out.features_bfk.shape == (4, 3, 32)
    assert out.sides_bfl.shape == (4, 3, len(SIDES))


def test_absent_views_do_not_matter():
    model, tokens = head(), torch.randn(2, 8, 32)
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[1, 4:] = False
    other = tokens.clone()
    other[1, 4:] = 100.0
    one, two = model(tokens, mask), model(other, mask)
    torch.testing.assert_close(one.presence_bf, two.presence_bf)
    alone = model(tokens[1:, :4], mask[1:, :4])
    torch.testing.assert_close(one.presence_bf[1:], alone.presence_bf)
    torch.testing.assert_close(one.sides_bfl[1:], alone.sides_bfl)


def test_the_offset_moves_the_threshold_to_one_half():
    model = head()
    model.offset.copy_(torch.tensor([1.0, -2.0, 0.0]))
    torch.testing.assert_close(model.probabilities(torch.tensor([[1.0, -2.0, 0.0]])), torch.full((1, 3), 0.5))


def test_an_odd_width_has_fewer_heads():
    model = FindingQueries(("a",), 18, (0.5,))
    assert model(torch.randn(1, 3, 18), torch.ones(1, 3, dtype=torch.bool)).presence_bf.shape == (1, 1)


def test_called_present_from_the_threshold_on():
    model = head()
    model.offset.copy_(torch.tensor([1.0, -2.0, 0.0]))
    called = model.called(torch.tensor([[1.0, -2.1, 0.5], [0.9, -1.9, -0.1]]))
    assert called.tolist() == [[True, False, True], [False, True, False]]


def test_tokens_say_presence_and_side():
    torch.manual_seed(0)
    tokens = FindingTokens(2, 8, 16)
    features = torch.zeros(1, 2, 8)
    no, yes = torch.zeros(1, 2, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)
    first, second = torch.zeros(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.long)
    absent, one, other = tokens(features, no, first), tokens(features, yes, first), tokens(features, yes, second)
    assert absent.shape == (1, 2, 16)
    assert (absent - one).abs().mean() > 0.1
    assert (other - one).abs().mean() > 0.1
    torch.testing.assert_close(tokens(features, no, second), absent)  # the side of what is absent is not told
    by_hand = tokens.norm(tokens.feature.bias + tokens.present + tokens.sides[:, 1])
    torch.testing.assert_close(other[0], by_hand)


def test_the_gradient_of_the_tokens_is_the_same_to_the_last_bit():
    """As many studies and channels as in training, on several threads: one wrong bit makes another run of it."""
    torch.manual_seed(0)
    tokens = FindingTokens(12, 64, 192)
    features, present = torch.randn(64, 12, 64), torch.rand(64, 12) < 0.8
    side, pull = torch.randint(0, 2, (64, 12)), torch.randn(64, 12, 192)
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    try:
        gradients = []
        for _ in range(40):
            tokens.zero_grad()
            (tokens(features, present, side) * pull).sum().backward()
            gradients.append(tokens.sides.grad.clone())
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(gradients[0], one) for one in gradients)
    chosen = tokens.sides[torch.arange(12), side]  # what an index gives
    said = torch.where(present[..., None], tokens.present + chosen, tokens.absent)
    torch.testing.assert_close(tokens(features, present, side), tokens.norm(tokens.feature(features) + said))
