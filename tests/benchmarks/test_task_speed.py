"""Training steps of medmm's loop, against the same MONAI network in MONAI's own supervised trainer in fp32."""

import copy
import time

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.losses import DeepSupervisionLoss, DiceCELoss
from monai.utils import CommonKeys
from torch import nn

from medmm.config.load import load
from medmm.data.case_grid import CaseGrid
from medmm.data.dataset import Batch
from medmm.data.outline_code import OutlineCode
from medmm.tasks.classification import Classification
from medmm.tasks.segmentation import Segmentation
from medmm.training.loop import Hooks, Loop
from medmm.training.plan import Machine, plan, this_machine

CLASSES = ("nodule", "mass", "effusion", "edema")
STEPS = 5  # of each round; the first one is not counted
ROUNDS = 2


class InMemory:
    """One batch again and again, as a loop asks a dataset for it."""

    def __init__(self, batch):
        self.only = batch

    def order(self, epoch, size):
        return [np.arange(size)]

    def batch(self, indices, epoch):
        return self.only


class Pooled(nn.Module):
    """A backbone with what MONAI's networks end in: the mean of the last map and a linear layer."""

    def __init__(self, backbone, width):
        super().__init__()
        self.backbone, self.linear = backbone, nn.Linear(width, len(CLASSES))

    def forward(self, images):
        return self.linear(self.backbone(images).flatten(2).mean(2))


class Steps:
    """Seconds between calls."""

    def __init__(self):
        self.times = []

    def __call__(self, *given):
        self.times.append(time.perf_counter())

    @property
    def seconds(self):
        return np.diff(self.times).tolist()


def classifier(network, side, batch):
    """A task, a batch of it, and the peer: network, images, targets and loss."""
    config = load("finetune/classification.yaml", None, [f"model.encoder.name={network}", f"preprocess.size={side}"])
    task = Classification(config, dict.fromkeys(CLASSES, 0.2), "given")
    present = (torch.rand(batch, len(CLASSES)) < 0.3).float()
    targets = {"present": present, "known": torch.ones_like(present), "side": torch.full(present.shape, -100)}
    encoder = task.model.encoder
    peer = Pooled(copy.deepcopy(encoder.backbone), encoder.project.in_features)
    return task, targets, peer, present, nn.BCEWithLogitsLoss()


def outliner(network, sides, batch):
    """As :func:`classifier`; structures of volumes exclude each other, those of pictures may overlap."""
    config = load("finetune/segmentation.yaml", None, [f"segmentation.network={network}"])
    volumes = len(sides) == 3
    grid = CaseGrid(sides, (2.0,) * 3, ((-1000.0, 1000.0),)) if volumes else CaseGrid(sides)
    task = Segmentation(config, OutlineCode(CLASSES, volumes), grid)
    coded = torch.randint(0, task.code.channels if volumes else 2 ** len(CLASSES), (batch, *sides))
    bits = torch.arange(len(CLASSES)).view(1, -1, *(1,) * len(sides))
    truth = coded[:, None].float() if volumes else ((coded[:, None] >> bits) & 1).float()
    kind = {"to_onehot_y": True, "softmax": True} if volumes else {"sigmoid": True}
    loss = DeepSupervisionLoss(DiceCELoss(**kind))
    return task, {"mask": coded}, copy.deepcopy(task.model.network), truth, loss


def of_the_loop(task, targets, images, folder):
    """Seconds of the steps, everything in: forward, loss, backward, clipping, AdamW, the average of the weights."""
    size, steps = len(images), Steps()
    train = {"steps": STEPS, "batch_size": size, "save_every": 10**6}
    config = task.config.model_copy(update={"train": task.config.train.model_copy(update=train)})
    batch = Batch(tuple(map(str, range(size))), images[:, None], torch.ones(size, 1, dtype=torch.bool), targets)
    chosen = plan(config, size, this_machine("cpu"))
    Loop(task, InMemory(batch), None, config, chosen, folder, "speed", Hooks(progress=steps)).run()
    return steps.seconds


def of_monai(network, truth, images, loss, machine: Machine):
    """Seconds of the steps of MONAI's trainer as it is set up by default, with AdamW."""
    torch.set_num_threads(machine.cores)
    network.to(memory_format=torch.contiguous_format)
    step, steps = {CommonKeys.IMAGE: images, CommonKeys.LABEL: truth}, Steps()
    trainer = SupervisedTrainer(
        device=torch.device("cpu"), max_epochs=1, train_data_loader=[step] * STEPS, network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=1e-4), loss_function=loss,
    )  # fmt: skip
    trainer.add_event_handler(Events.ITERATION_COMPLETED, steps)
    trainer.run()
    return steps.seconds


CASES = {  # who makes it, network, sides, batch, and how many times as fast it must be
    "classification, default encoder": (classifier, "resnet_lean", 128, 32, 2.0),
    "classification, densenet121": (classifier, "densenet121", 128, 16, 2.0),
    "segmentation 2D, default network": (outliner, "unet", (192, 192), 8, 2.0),
    "segmentation 3D, dynunet": (outliner, "dynunet", (64, 64, 64), 2, 2.0),
    # its group norms are slow in bf16 where channels lie last, and its few channels fill no vector
    "segmentation 3D, default network": (outliner, "unet", (64, 64, 64), 2, 1.3),
}


@pytest.mark.slow
@pytest.mark.skipif(not this_machine("cpu").bf16, reason="a processor without bf16 computes both in fp32")
@pytest.mark.parametrize("case", CASES)
def test_a_task_trains_faster_than_its_network_in_monais_trainer(case, benchmark, tmp_path):
    make, network, sides, size, least = CASES[case]
    images, machine = torch.rand(size, 1, *((sides, sides) if isinstance(sides, int) else sides)), this_machine("cpu")
    own, theirs = [], []
    for number in range(ROUNDS):  # by turns, so that what else the machine does strikes both
        torch.manual_seed(number)
        task, targets, peer, truth, loss = make(network, sides, size)
        theirs += of_monai(peer, truth, images, loss, machine)
        own += of_the_loop(task, targets, images, tmp_path / str(number))
    rates = {"medmm": size / min(own), "monai": size / min(theirs)}  # other work only ever adds to a step
    ratio = rates["medmm"] / rates["monai"]
    benchmark.extra_info |= {f"{name}_per_second": rate for name, rate in rates.items()} | {"ratio": ratio}
    benchmark.pedantic(task.model.eval, rounds=1)
    assert ratio >= least, f"{case}: {rates['medmm']:.1f} against {rates['monai']:.1f} a second, {ratio:.2f} times"
