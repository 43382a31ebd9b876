"""Training steps of the default image encoder, against DenseNet-121 as it is mostly run on a processor."""

import statistics
import time

import pytest
import torch
from monai.networks.nets.densenet import DenseNet121

from medmm.config.schema import EncoderConfig
from medmm.models.image_encoder import build_encoder
from medmm.training.plan import this_machine

BATCH, SIDE, STEPS = 16, 128, 5


def seconds(net, images, precision):
    """Median time of a step: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
    times = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            out = net(images)
        loss = getattr(out, "tokens_bnk", out).float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


@pytest.mark.slow
def test_the_default_encoder_trains_many_times_as_fast_as_densenet121_in_fp32(benchmark):
    torch.manual_seed(0)
    torch.set_num_threads(this_machine("cpu").cores)
    images = torch.rand(BATCH, 1, SIDE, SIDE)
    lean = build_encoder(EncoderConfig(), (SIDE, SIDE))
    peer = DenseNet121(spatial_dims=2, in_channels=1, out_channels=14)
    own_precision = "bf16" if this_machine("cpu").bf16 else "fp32"
    own = seconds(lean, images.to(memory_format=torch.channels_last), own_precision)
    ratio = seconds(peer, images, "fp32") / own
    benchmark.extra_info |= {"images_per_second": BATCH / own, "ratio": ratio}
    benchmark.pedantic(lean, args=(images,), rounds=1)
    assert ratio > 5, f"{ratio:.1f}"
