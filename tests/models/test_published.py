"""Weights of others in medmm's encoders give the maps that they gave in the network they were trained in."""

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medmm.config.schema import EncoderConfig
from medmm.errors import CheckpointError
from medmm.models.image_encoder import build_encoder
from medmm.models.published import take_published

_SPEC = importlib.util.spec_from_file_location("published_networks", Path(__file__).parent / "published_networks.py")
networks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(networks)
SIDE = 64


def encoder(name="densenet121", dims=2):
    torch.manual_seed(1)
    built = build_encoder(EncoderConfig(name=name, width=32, spatial_dims=dims), (SIDE,) * dims)
    return built.backbone.eval()


def saved(named, path):
    save_file({name: tensor.contiguous() for name, tensor in named.items()}, str(path))
    return path


@pytest.mark.parametrize("name", ["densenet121", "resnet18", "resnet50"])
@pytest.mark.parametrize("layout", list(networks.LAYOUTS))
def test_maps_are_those_of_the_network_that_the_weights_are_of(name, layout, tmp_path):
    net, ours = networks.network(name), encoder(name)
    named = networks.LAYOUTS[layout](net.state_dict())
    taken = take_published(ours, saved(named, tmp_path / "w.safetensors"))
    assert (taken.share, taken.missing, taken.reshaped) == (1.0, (), ())
    assert taken.parameters == sum(one.numel() for key, one in ours.state_dict().items() if "num_batches" not in key)
    left = {one.rpartition(".")[0].rpartition("model.")[2] for one in taken.left_out} - {"", "module.backbone.fc"}
    assert left <= {"classifier", "fc", "class_layers.out", "module.backbone.classifier"}
    images = torch.rand(2, 1, SIDE, SIDE) * 4 - 2
    with torch.no_grad():
        wanted, got = net.maps(images.expand(-1, 3, -1, -1)), ours(images)
    assert wanted.std() > 0.1
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_a_grey_stem_is_taken_as_it_is(tmp_path):
    net, ours = networks.network("resnet18", channels=1), encoder("resnet18")
    taken = take_published(ours, saved(net.state_dict(), tmp_path / "w.safetensors"))
    assert taken.changes == ()
    assert torch.equal(ours.stages[0].weight, net.conv1.weight)


@pytest.mark.parametrize("name", ["densenet121", "resnet18"])
def test_a_volume_of_equal_slices_gives_what_its_slice_gave(name, tmp_path):
    """Kernel by kernel: between its borders, where depth is padded with zeros, the inflated stem is the flat one."""
    net, flat, deep = networks.network(name), encoder(name), encoder(name, dims=3)
    path = saved(net.state_dict(), tmp_path / "w.safetensors")
    take_published(flat, path)
    taken = take_published(deep, path)
    assert (taken.share, taken.missing, taken.reshaped) == (1.0, (), ())
    assert len(taken.changes) == 2
    images = torch.rand(1, 1, SIDE, SIDE)
    volume = images.unsqueeze(2).expand(-1, -1, SIDE, -1, -1)
    two, three = (torch.nn.ModuleList(net.modules()) for net in (flat, deep))
    kernels = [(one, other) for one, other in zip(two, three, strict=True) if isinstance(other, torch.nn.Conv3d)]
    assert len(kernels) == sum(isinstance(one, torch.nn.Conv2d) for one in two)
    with torch.no_grad():
        middle = kernels[0][1](volume)[:, :, 8]
    torch.testing.assert_close(middle, kernels[0][0](images), rtol=1e-5, atol=1e-5)
    for one, other in kernels:
        torch.testing.assert_close(other.weight.sum(2), one.weight)
        assert torch.equal(other.weight[:, :, 0], other.weight[:, :, -1])


def test_what_matched_is_told(tmp_path):
    named = networks.network("resnet18").state_dict()
    named = {f"net.{name}": one.half() if one.is_floating_point() else one for name, one in named.items()}
    named.pop("net.layer1.0.bn1.bias")
    named["net.layer4.1.conv2.weight"] = torch.zeros(512, 512, 1, 1)
    taken = take_published(encoder("resnet18"), saved(named, tmp_path / "other.safetensors"))
    assert taken.prefix == "net."
    assert taken.missing == ("stages.4.0.bn1.bias",)
    assert taken.reshaped == ("stages.7.1.conv2.weight (512, 512, 1, 1) for (512, 512, 3, 3)",)
    assert taken.left_out == ("net.fc.bias", "net.fc.weight")
    assert taken.whole - taken.parameters == 64 + 512 * 512 * 9
    said = "\n".join(taken.lines())
    for words in (f"{taken.parameters:,} of {taken.whole:,}", "78.9%", "3 channels were summed", "net.fc.weight"):
        assert words in said
    assert taken.as_dict()["share"] == round(taken.share, 4)
    assert taken.names == 100 - 2


@pytest.mark.parametrize(("theirs", "ours"), [("resnet18", "densenet121"), ("densenet121", "resnet50"),
                                              ("resnet18", "resnet50")])  # fmt: skip
def test_another_network_is_refused_with_the_list(theirs, ours, tmp_path):
    backbone = encoder(ours)
    before = {name: one.clone() for name, one in backbone.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"of another network; got [\d.]+% .*missing: .* and \d+ more") as caught:
        take_published(backbone, saved(networks.network(theirs).state_dict(), tmp_path / "w.safetensors"))
    assert str(tmp_path) not in str(caught.value)
    assert all(torch.equal(one, before[name]) for name, one in backbone.state_dict().items())


def test_two_networks_in_a_file_and_broken_numbers_are_refused(tmp_path):
    named = networks.network("resnet18").state_dict()
    both = {f"encoder_{which}.{name}": one.clone() for which in "qk" for name, one in named.items()}
    with pytest.raises(CheckpointError, match=r"several.*'encoder_k\.', 'encoder_q\.'"):
        take_published(encoder("resnet18"), saved(both, tmp_path / "w.safetensors"))
    named["bn1.weight"][3] = float("nan")
    with pytest.raises(CheckpointError, match=r"not finite.*stages\.1\.weight"):
        take_published(encoder("resnet18"), saved(named, tmp_path / "w.safetensors"))


def test_weights_of_a_run_of_medmm_fit_too(tmp_path):
    theirs, ours = encoder("densenet121"), encoder("densenet121")
    torch.nn.init.normal_(theirs[0].norm5.weight)
    named = {f"encoder.backbone.{name}": one for name, one in theirs.state_dict().items()}
    assert take_published(ours, saved(named, tmp_path / "w.safetensors")).share == 1.0
    assert torch.equal(ours[0].norm5.weight, theirs[0].norm5.weight)
