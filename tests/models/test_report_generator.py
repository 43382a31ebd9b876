"""The report generator: what the language model is given to read, and what it makes of it."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from medmm.config.schema import DecoderConfig, EncoderConfig, GenerateConfig, PreprocessConfig
from medmm.models.decoder import small_decoder
from medmm.models.heads import FindingOutput, FindingQueries
from medmm.models.image_encoder import ImageEncoder
from medmm.models.report_generator import Hint, ReportGenerator
from medmm.models.study_writer import averaging
from medmm.models.tokenizer import learn_tokenizer

WIDTH, SIDE, VIEWS, GRID = 32, 32, 3, (4, 4)
NAMES = ("nodule", "effusion", "fracture")


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(["A nodule is seen on the left.", "No effusion, no fracture."] * 5, 300)


def generator(tokenizer, head=True, prefix_grid=2):
    """A model whose wide random weights make texts that depend on the images."""
    torch.manual_seed(0)
    backbone = nn.Conv2d(1, 6, kernel_size=8, stride=8)
    encoder = ImageEncoder(backbone, 6, GRID, EncoderConfig(width=WIDTH))
    settings = DecoderConfig(layers=1, width=WIDTH, heads=2, max_tokens=16, dropout=0)
    decoder = small_decoder(settings, tokenizer, VIEWS * prefix_grid**2 + len(NAMES))
    queries = FindingQueries(NAMES, WIDTH, (0.3, 0.5, 0.7)) if head else None
    model = ReportGenerator(encoder, decoder, queries, PreprocessConfig(size=SIDE), VIEWS, prefix_grid)
    for parameter in model.decoder.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.4)
    if queries is not None:
        queries.offset.copy_(torch.tensor([0.5, -0.5, 0.2]))
    return model.eval()


@pytest.fixture(scope="module")
def model(tokenizer):
    return generator(tokenizer)


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(3, VIEWS, 1, SIDE, SIDE)


@pytest.fixture
def ids(tokenizer):
    torch.manual_seed(2)
    return torch.randint(3, tokenizer.size, (3, 7))


@pytest.fixture
def tokens():
    """Image tokens of three studies, those of the last with its first view missing."""
    torch.manual_seed(3)
    mask = torch.ones(3, VIEWS * 16, dtype=torch.bool)
    mask[2, :16] = False
    return torch.randn(3, VIEWS * 16, WIDTH), mask


def bridged_by_hand(model, tokens, mask):
    """Image tokens as the language model reads them: pooled by torch, absent views put to the left."""
    rows, masks = [], []
    for study, there in zip(tokens, mask, strict=True):
        maps = study.reshape(-1, *GRID, WIDTH).permute(0, 3, 1, 2)
        views = functional.adaptive_avg_pool2d(maps, (2, 2)).flatten(2).transpose(1, 2)
        keep = there.reshape(-1, 16)[:, 0].tolist()
        order = [v for v in range(VIEWS) if not keep[v]] + [v for v in range(VIEWS) if keep[v]]
        rows.append(model.bridge(views[order].flatten(0, 1)))
        masks.append(torch.tensor([keep[v] for v in order]).repeat_interleave(4))
    return torch.stack(rows), torch.stack(masks)


@pytest.mark.parametrize(("grid", "most"), [((8, 8), 4), ((6, 4), 2), ((4, 8), 4), ((4, 4), 4), ((2, 3), 4), ((7,), 1)])
def test_averaging_is_torchs_pooling_where_the_grid_divides(grid, most):
    maps = torch.randn(2, 5, *grid)
    pool = functional.adaptive_avg_pool1d if len(grid) == 1 else functional.adaptive_avg_pool2d
    wanted = pool(maps, tuple(min(side, most) for side in grid)).flatten(2)
    torch.testing.assert_close(maps.flatten(2) @ averaging(grid, most).T, wanted)


@pytest.mark.parametrize(("grid", "most"), [((4, 8, 8), 4), ((2, 4, 6), 2), ((1, 4, 2), 4)])
def test_averaging_is_torchs_pooling_of_volumes(grid, most):
    maps = torch.randn(2, 5, *grid)
    wanted = functional.adaptive_avg_pool3d(maps, tuple(min(side, most) for side in grid)).flatten(2)
    torch.testing.assert_close(maps.flatten(2) @ averaging(grid, most).T, wanted)


def test_averaging_of_a_grid_that_does_not_divide_shares_no_token():
    third, half = 1 / 3, 1 / 2
    along = torch.tensor([[third, third, third, 0, 0], [0, 0, 0, half, half]])
    torch.testing.assert_close(averaging((5,), 2), along)
    by_hand = torch.zeros(4, 15)  # 5 rows of 3 columns become 2 x 2
    for row, rows in enumerate(((0, 1, 2), (3, 4))):
        for column, columns in enumerate(((0, 1), (2,))):
            for y in rows:
                for x in columns:
                    by_hand[2 * row + column, 3 * y + x] = 1 / (len(rows) * len(columns))
    torch.testing.assert_close(averaging((5, 3), 2), by_hand)


@pytest.mark.parametrize("grid", [(5, 3), (7, 7), (8, 4), (3, 5, 7), (16, 9)])
@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_averaging_counts_every_token_once_and_rows_sum_to_one(grid, most):
    matrix = averaging(grid, most)
    rows = 1
    for side in grid:
        rows *= min(side, most)
    assert matrix.shape[0] == rows
    torch.testing.assert_close(matrix.sum(1), torch.ones(rows))
    assert ((matrix > 0).sum(0) == 1).all()


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("prefix_grid", [1, 2, 3, 8])
def test_prefix_length_is_that_of_the_prefix_of_all_views(tokenizer, images, head, prefix_grid):
    model = generator(tokenizer, head, prefix_grid)
    tokens, mask = model.see(images, torch.ones(3, VIEWS, dtype=torch.bool))
    findings = model.head(tokens, mask) if head else None
    prefix, prefix_mask = model.prefix(tokens, mask, findings)
    wanted = VIEWS * min(4, prefix_grid) ** 2 + (len(NAMES) if head else 0)
    assert model.prefix_length == prefix.shape[1] == prefix_mask.shape[1] == wanted


def test_seeing_is_the_encoder_on_each_view_with_its_place(model, images):
    mask = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])
    tokens, token_mask = model.see(images, mask)
    assert token_mask.tolist() == mask.repeat_interleave(16, dim=1).tolist()
    for study, view in mask.nonzero().tolist():
        normal = (images[study, view] - 0.5) / 0.25
        wanted = model.encoder(normal[None]).tokens_bnk[0] + model.view[view]
        torch.testing.assert_close(tokens[study, view * 16 : (view + 1) * 16], wanted)


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_an_absent_view_does_not_matter_wherever_it_stands(model, images, ids, absent):
    mask = torch.ones(3, VIEWS, dtype=torch.bool)
    mask[1, absent] = False
    other = images.clone()
    other[1, absent] = 1e3
    one, two = model(images, mask, ids), model(other, mask, ids)
    torch.testing.assert_close(one.logits_btv, two.logits_btv, rtol=0, atol=0)
    torch.testing.assert_close(one.findings.presence_bf, two.findings.presence_bf, rtol=0, atol=0)
    mask[1, absent] = True  # the same values do matter where the view is there
    assert (model(images, mask, ids).logits_btv[1] - one.logits_btv[1]).abs().max() > 0.1
    torch.testing.assert_close(model(images, mask, ids).logits_btv[0], one.logits_btv[0])


@pytest.mark.parametrize("absent", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_logits_are_those_of_a_prefix_without_the_absent_views(model, images, ids, absent):
    mask = torch.ones(3, VIEWS, dtype=torch.bool)
    mask[1, list(absent)] = False
    there = [view for view in range(VIEWS) if view not in absent]
    tokens = torch.cat(
        [model.encoder((images[1:2, view] - 0.5) / 0.25).tokens_bnk + model.view[view] for view in there], 1
    )
    whole = torch.ones(tokens.shape[:2], dtype=torch.bool)
    findings = model.head(tokens, whole)
    pooled = torch.stack([averaging(GRID, 2) @ part for part in tokens[0].split(16)]).flatten(0, 1)
    said = model.finding_tokens(
        findings.features_bfk, findings.presence_bf >= model.head.offset, findings.sides_bfl.argmax(-1)
    )
    prefix = torch.cat([model.bridge(pooled)[None], said], dim=1)
    wanted = model.decoder(prefix, torch.ones(prefix.shape[:2], dtype=torch.bool), ids[1:2])
    found = model(images, mask, ids)
    torch.testing.assert_close(found.logits_btv[1:2], wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.findings.presence_bf[1:2], findings.presence_bf, rtol=1e-4, atol=1e-4)


def test_a_study_of_one_view_is_the_same_alone_and_beside_others(model, images, ids):
    mask = torch.tensor([[True, True, True], [True, False, False], [True, True, False]])
    alone = model(images[1:2, :1], mask[1:2, :1], ids[1:2]).logits_btv
    torch.testing.assert_close(model(images, mask, ids).logits_btv[1:2], alone, rtol=1e-4, atol=1e-4)


def test_without_hint_the_prefix_says_what_the_head_calls(model, tokens):
    tokens, mask = tokens
    features, sides = torch.randn(3, 3, WIDTH), torch.zeros(3, 3, 3)
    presence = torch.tensor([[0.4, -0.4, 0.1], [0.6, -0.6, 0.3], [0.5, -0.5, 0.2]])  # offsets are 0.5, -0.5, 0.2
    sides[:, :, 1] = 1.0
    prefix, prefix_mask = model.prefix(tokens, mask, FindingOutput(features, presence, sides))
    called = torch.tensor([[False, True, False], [True, False, True], [True, True, True]])
    image, image_mask = bridged_by_hand(model, tokens, mask)
    said = model.finding_tokens(features, called, torch.ones(3, 3, dtype=torch.long))
    torch.testing.assert_close(prefix, torch.cat([image, said], dim=1))
    assert prefix_mask.tolist() == torch.cat([image_mask, torch.ones(3, 3, dtype=torch.bool)], dim=1).tolist()
    assert prefix_mask[2, :5].tolist() == [False] * 4 + [True]


def test_a_hint_takes_the_place_of_the_heads_calls_where_it_is_known(model, tokens):
    tokens, mask = tokens
    features = torch.randn(3, 3, WIDTH)
    presence = torch.tensor([[9.0, -9.0, 9.0], [-9.0, 9.0, 9.0], [9.0, -9.0, -9.0]])
    sides = torch.zeros(3, 3, 3)
    sides[:, :, 2] = 5.0  # the head says: bilateral
    truth = ~(presence > 0)  # against the head, everywhere
    known = torch.tensor([[True, True, False], [False, False, True], [True, True, True]])
    sided = torch.tensor([[False, True, True], [False, True, True], [False, True, False]])
    side = torch.tensor([[1, 1, 0], [0, 0, 1], [1, 0, 1]])
    shown = torch.tensor([True, False, True])
    output = FindingOutput(features.clone(), presence, sides)
    prefix, read = model.prefix(tokens, mask, output, Hint(shown, known, truth, sided, side))

    calls = [[False, True, True], [False, True, False], [False, True, True]]
    where = [[2, 1, 0], [2, 0, 1], [2, 0, 2]]
    features[1] = 0.0  # of the second study the language model reads the findings alone
    said = model.finding_tokens(features, torch.tensor(calls), torch.tensor(where))
    torch.testing.assert_close(prefix[:, -3:], said)
    assert not read[1, :-3].any()
    assert read[1, -3:].all()
    for row in (0, 2):
        torch.testing.assert_close(prefix[row, :-3], bridged_by_hand(model, tokens, mask)[0][row])
        assert torch.equal(read[row, :-3], bridged_by_hand(model, tokens, mask)[1][row])


def test_logits_follow_the_hint_and_the_findings_do_not(model, images, ids):
    mask = torch.ones(3, VIEWS, dtype=torch.bool)
    plain = model(images, mask, ids)
    called = model.head.called(plain.findings.presence_bf)
    nothing, everything = torch.zeros(3, 3, dtype=torch.bool), torch.ones(3, 3, dtype=torch.bool)
    zeros, all_shown = torch.zeros(3, 3, dtype=torch.long), torch.ones(3, dtype=torch.bool)
    unknown = model(images, mask, ids, Hint(all_shown, nothing, ~called, nothing, zeros))
    torch.testing.assert_close(unknown.logits_btv, plain.logits_btv, rtol=0, atol=0)
    hinted = model(images, mask, ids, Hint(all_shown, everything, ~called, everything, zeros))
    torch.testing.assert_close(hinted.findings.presence_bf, plain.findings.presence_bf, rtol=0, atol=0)
    tokens, token_mask = model.see(images, mask)
    said = model.finding_tokens(plain.findings.features_bfk, ~called, zeros)
    prefix = torch.cat([bridged_by_hand(model, tokens, token_mask)[0], said], dim=1)
    wanted = model.decoder(prefix, torch.ones(prefix.shape[:2], dtype=torch.bool), ids)
    torch.testing.assert_close(hinted.logits_btv, wanted, rtol=1e-4, atol=1e-4)
    assert (hinted.logits_btv - plain.logits_btv).abs().max() > 0.1


def test_text_of_the_first_studies_only_and_findings_of_all(model, images, ids):
    mask = torch.tensor([[True, True, True], [True, False, True], [True, True, False]])
    whole, part = model(images, mask, ids), model(images, mask, ids[:2])
    torch.testing.assert_close(part.logits_btv, whole.logits_btv[:2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(part.findings.presence_bf, whole.findings.presence_bf)
    without = model(images, mask)
    assert without.logits_btv is None
    torch.testing.assert_close(without.findings.sides_bfl, whole.findings.sides_bfl)


@pytest.mark.parametrize("head", [True, False])
def test_a_draft_is_the_argmax_of_the_logits_step_by_step(tokenizer, images, head):
    model = generator(tokenizer, head)
    mask = torch.tensor([[True, True, True], [False, True, True], [True, False, False]])
    drafted, _, _ = model.draft(images, mask, GenerateConfig(max_tokens=10))
    assert drafted.shape == (3, 10) or (drafted == tokenizer.end).any(1).all()
    ids = torch.full_like(drafted, tokenizer.pad)
    open_rows = torch.ones(3, dtype=torch.bool)
    for step in range(drafted.shape[1]):
        logits = model(images, mask, ids[:, : step + 1]).logits_btv[:, step]
        if step == 0:
            logits[:, tokenizer.end] = -torch.inf  # min_tokens is 1
        ids[open_rows, step] = logits.argmax(-1)[open_rows]
        open_rows &= ids[:, step] != tokenizer.end
    assert drafted.tolist() == ids.tolist()
    assert len({tuple(row) for row in drafted.tolist()}) == 3  # each study has its own text


def test_a_draft_comes_with_the_heads_probabilities(model, images):
    mask = torch.tensor([[True, True, True], [False, True, True], [True, False, False]])
    _, probabilities, findings = model.draft(images, mask, GenerateConfig(max_tokens=3))
    seen = model(images, mask).findings
    torch.testing.assert_close(findings.presence_bf, seen.presence_bf)
    wanted = 1 / (1 + torch.exp(-(seen.presence_bf - torch.tensor([0.5, -0.5, 0.2]))))
    torch.testing.assert_close(probabilities, wanted)


def test_without_head_the_prefix_is_the_images_alone(tokenizer, images, ids):
    model = generator(tokenizer, head=False)
    mask = torch.tensor([[True, True, True], [False, True, True], [True, False, False]])
    output = model(images, mask, ids)
    assert output.findings is None
    tokens, token_mask = model.see(images, mask)
    prefix, prefix_mask = bridged_by_hand(model, tokens, token_mask)
    torch.testing.assert_close(output.logits_btv, model.decoder(prefix, prefix_mask, ids), rtol=1e-4, atol=1e-4)
    drafted, probabilities, findings = model.draft(images, mask, GenerateConfig(max_tokens=4))
    assert drafted.shape[0] == 3
    assert (probabilities, findings) == (None, None)
    assert not [name for name in model.state_dict() if "finding" in name or name.startswith("head")]


def test_the_averaging_matrix_is_no_weight(model):
    assert "average_rn" not in model.state_dict()
    torch.testing.assert_close(model.average_rn, averaging(GRID, 2))
