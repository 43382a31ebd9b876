"""Two processes with half of a batch each learn what one learns of the whole; for real, on gloo."""

import socket

import numpy as np
import pytest
import torch
from torch import nn

from medmm.config.pretraining import PretrainConfig
from medmm.data.dataset import Batch
from medmm.models.pretrain_batch import PretrainOutput
from medmm.tasks import objectives
from medmm.tasks.contrast import everywhere, own_columns
from medmm.tasks.statements import Texts

B, D, FINDINGS = 8, 5, 3


class Towers(nn.Module):
    """A matrix for each side and a temperature."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.images, self.texts = nn.Linear(6, D, bias=False), nn.Linear(7, D, bias=False)
        self.log_scale, self.bias = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.tensor(-2.0))

    def forward(self, images, texts):
        unit = nn.functional.normalize
        return unit(self.images(images), dim=-1), unit(self.texts(texts), dim=-1)


def data():
    generator = np.random.default_rng(3)
    said, shown = generator.integers(0, 3, (2, B, FINDINGS))
    side, shown_side = generator.choice([-100, 0, 1], (2, B, FINDINGS))
    numbers = [generator.normal(size=(B, width)).astype(np.float32) for width in (6, 7)]
    return [torch.from_numpy(one) for one in (*numbers, said, side, np.arange(B) % 3 == 0, shown, shown_side)]


def loss_of(model, contrast, rows):
    images, texts, said, side, whole, shown, shown_side = (one[rows] for one in data())
    seen, read = model(images, texts)
    number = len(images)
    ids = torch.zeros(number, 1, dtype=torch.long)
    drawn = Texts(ids, ids.bool(), said, side, whole)
    views, targets = torch.ones(number, 1, dtype=torch.bool), {"shown": shown, "shown_side": shown_side}
    batch = Batch(tuple(map(str, range(number))), torch.zeros(number, 1, 1, 2, 2), views, targets)
    output = PretrainOutput(seen, read, model.log_scale.exp(), model.bias if contrast == "sigmoid" else None)
    return objectives.contrastive(PretrainConfig(contrast=contrast), drawn, output, batch)


def one_of_two(rank, port, answers):
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    rows = slice(rank * B // 2, (rank + 1) * B // 2)
    found = {}
    for contrast in ("infonce", "sigmoid"):
        model = Towers()
        loss = loss_of(model, contrast, rows)
        loss.backward()
        gradients = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
        for value in (total := loss.detach().clone(), *gradients.values()):
            dist.all_reduce(value)
            value.div_(2)  # as DistributedDataParallel does
        found[contrast] = float(total), {name: one.tolist() for name, one in gradients.items()}
    own = torch.full((2, 1), float(rank))
    with torch.no_grad():
        alone = everywhere(own).shape[0]
    gathered = everywhere(own).flatten().tolist()
    answers.put((rank, found, alone, gathered, own_columns(2, 4, own.device).tolist()))
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def of_two():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    context = torch.multiprocessing.get_context("fork")
    answers = context.Queue()
    started = [context.Process(target=one_of_two, args=(rank, port, answers), daemon=True) for rank in (0, 1)]
    for one in started:
        one.start()
    try:
        return sorted(answers.get(timeout=120) for _ in started)
    finally:
        for one in started:
            one.join(10)


@pytest.mark.parametrize("contrast", ["infonce", "sigmoid"])
def test_the_loss_and_its_gradients_are_those_of_the_whole_batch(of_two, contrast):
    model = Towers()
    loss = loss_of(model, contrast, slice(0, B))
    loss.backward()
    for _, found, _, _, _ in of_two:
        told, gradients = found[contrast]
        assert told == pytest.approx(float(loss.detach()), abs=1e-5)
        wanted = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
        assert gradients.keys() == wanted.keys()
        for name, gradient in wanted.items():
            torch.testing.assert_close(torch.tensor(gradients[name]), gradient, atol=1e-5, rtol=1e-5)


def test_rows_are_gathered_in_the_order_of_the_processes_but_not_while_one_validates(of_two):
    for rank, _, alone, gathered, own in of_two:
        assert alone == 2
        assert gathered == [0, 0, 1, 1]
        assert torch.equal(torch.tensor(own), torch.eye(4)[2 * rank : 2 * rank + 2])
