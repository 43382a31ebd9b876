"""What pretraining is expected to cost, against models that are built."""

import pytest
import torch

from medmm.config.schema import Config
from medmm.models.dual_encoder import DualEncoder
from medmm.models.image_encoder import build_encoder
from medmm.models.text_encoder import small_text_encoder
from medmm.training.plan import Machine, plan

MACHINE = Machine(cores=1, bf16=True, device="cpu")


def planned(**pretrain):
    model = {"encoder": {"name": "resnet_lean"}, "fusion": {"kind": pretrain.pop("kind", "cross")}}
    train = {"steps": 100, "batch_size": 64}
    return Config.model_validate({"task": "pretraining", "model": model, "train": train, "pretrain": pretrain})


class Words:
    """All that the text tower asks of a tokenizer."""

    size, pad = 2000, 0


@pytest.mark.parametrize("kind", ["concat", "cross", "gated"])
def test_parameters_are_those_of_the_model_that_is_built(kind):
    config = planned(kind=kind)
    with torch.device("meta"):
        text = small_text_encoder(config.model.text, Words())
        model = DualEncoder(build_encoder(config.model.encoder, (config.preprocess.size,) * 2), text, config)
    built = sum(one.numel() for one in model.parameters()) / 1e6
    assert plan(config, 1000, MACHINE).parameters_m == pytest.approx(built, rel=0.1)


@pytest.mark.parametrize("more", [{"masked_image": 1.0}, {"matching": 1.0}, {"chunk": 16}, {"part": 1.0},
                                  {"texts": "openi:reports", "texts_batch": 640}])  # fmt: skip
def test_more_objectives_take_more_time(more):
    assert plan(planned(**more), 10_000, MACHINE).minutes > plan(planned(), 10_000, MACHINE).minutes


def test_less_to_do_takes_less_and_a_chunk_needs_less_memory():
    assert plan(planned(masked_text=0), 10_000, MACHINE).minutes < plan(planned(), 10_000, MACHINE).minutes
    assert plan(planned(chunk=16), 10_000, MACHINE).memory_gb < plan(planned(), 10_000, MACHINE).memory_gb
