"""What is taken from another run, what learns, and what holds still while the rest trains."""

from __future__ import annotations

import pytest
import torch

from medmm.config.schema import EncoderConfig, PreprocessConfig
from medmm.errors import CheckpointError, UsageError
from medmm.models.classifier import StudyClassifier
from medmm.models.heads import FindingQueries
from medmm.models.image_encoder import build_encoder
from medmm.models.transfer import freeze, hold_still, take_over
from medmm.models.weights import save_tensors


def classifier(names=("a", "b"), encoder="resnet_lean", seed=0):
    torch.manual_seed(seed)
    built = build_encoder(EncoderConfig(name=encoder, width=32), (32, 32))
    return StudyClassifier(built, FindingQueries(names, 32, [0.5] * len(names)), PreprocessConfig(size=32), 2)


def saved(model, folder):
    (folder / "model").mkdir(parents=True)
    save_tensors(folder / "model" / "model.safetensors", model.state_dict(), {})
    return folder


@pytest.mark.parametrize("names", [("a", "b", "c"), ("c", "d")])
def test_the_encoder_is_taken_and_a_head_is_not(tmp_path, names):
    theirs, ours = classifier(seed=1), classifier(names, seed=2)
    head = ours.head.queries.clone()
    taken, whole = take_over(ours, saved(theirs, tmp_path / "run"))
    assert taken == whole == ours.view.numel() + sum(one.numel() for one in ours.encoder.state_dict().values())
    assert torch.equal(ours.view, theirs.view)
    for name, tensor in ours.encoder.state_dict().items():
        assert torch.equal(tensor, theirs.encoder.state_dict()[name]), name
    assert torch.equal(ours.head.queries, head)


def test_a_run_of_another_encoder_is_refused(tmp_path):
    run = saved(classifier(encoder="densenet121"), tmp_path / "run")
    with pytest.raises(CheckpointError, match="image encoder does not fit"):
        take_over(torch.nn.Linear(3, 3), run)
    with pytest.raises(CheckpointError, match="image encoder does not fit"):
        take_over(classifier(), run)
    with pytest.raises(CheckpointError, match="no weights"):
        take_over(classifier(), tmp_path)


def test_a_network_without_encoder_learns_whole_or_not_at_all():
    with pytest.raises(UsageError, match="no encoder to hold still; got head"):
        freeze(torch.nn.Linear(3, 3), "head")
    assert freeze(torch.nn.Linear(3, 3), "full") == (12, 12)


@pytest.mark.parametrize(
    ("adapt", "learning"),
    [("full", {"stem", "layer3", "layer4", "head"}), ("head", {"head"}), ("last-1", {"layer4", "head"}),
     ("last-2", {"layer3", "layer4", "head"})],
)  # fmt: skip
def test_what_learns(adapt, learning):
    model = classifier()
    learned, whole = freeze(model, adapt)
    stages = model.encoder.backbone.stages
    parts = {"stem": stages[0], "layer3": stages[-2], "layer4": stages[-1], "head": model.head}
    assert {name for name, part in parts.items() if all(one.requires_grad for one in part.parameters())} == learning
    assert learned == sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert whole == sum(one.numel() for one in model.parameters())
    assert (learned == whole) == (adapt == "full")


def test_norms_that_do_not_learn_keep_their_statistics():
    model = classifier()
    freeze(model, "last-1")
    before = {name: one.clone() for name, one in model.named_buffers() if "running_mean" in name}
    model.train()
    hold_still(model)
    model(torch.rand(4, 1, 1, 32, 32), torch.ones(4, 1, dtype=torch.bool))
    moved = {name for name, one in model.named_buffers() if name in before and not torch.equal(one, before[name])}
    assert moved
    assert all(name.startswith(f"encoder.backbone.stages.{len(model.encoder.backbone.stages) - 1}.") for name in moved)
