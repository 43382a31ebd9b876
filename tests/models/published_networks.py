"""DenseNet-121 and ResNets in plain torch, with the modules, names and order of torchvision's, and other layouts.

Written from the names and shapes of torchvision 0.29, timm 1.0.31, TorchXRayVision 1.5.7 and MONAI 1.6.1; RadImageNet's
as its own notebooks make them: the children of a torchvision network in a Sequential.
"""

import re

import torch
from torch import nn
from torch.nn import functional

FEATURES = {"densenet121": 1024, "resnet18": 512, "resnet50": 2048}


class DenseLayer(nn.Module):
    def __init__(self, channels, growth=32, width=4):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width * growth)
        self.conv2 = nn.Conv2d(width * growth, growth, 3, padding=1, bias=False)

    def forward(self, images):
        narrow = self.conv1(functional.relu(self.norm1(images)))
        return torch.cat([images, self.conv2(functional.relu(self.norm2(narrow)))], 1)


class Transition(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, images):
        return functional.avg_pool2d(self.conv(functional.relu(self.norm(images))), 2)


class DenseNet(nn.Module):
    def __init__(self, channels=3, classes=1000):
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(64))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        width = 64
        for block, layers in enumerate((6, 12, 24, 16), start=1):
            stack = nn.Sequential()
            for layer in range(layers):
                stack.add_module(f"denselayer{layer + 1}", DenseLayer(width + 32 * layer))
            self.features.add_module(f"denseblock{block}", stack)
            width += 32 * layers
            if block < 4:
                self.features.add_module(f"transition{block}", Transition(width))
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, classes)

    def maps(self, images):
        return functional.relu(self.features(images))


class Block(nn.Module):
    def __init__(self, channels, planes, stride, bottleneck):
        super().__init__()
        out = planes * (4 if bottleneck else 1)
        sizes = [(channels, planes, 1, 1), (planes, planes, 3, stride), (planes, out, 1, 1)]
        for number, (inside, outside, side, step) in enumerate(
            sizes if bottleneck else [(channels, planes, 3, stride), (planes, planes, 3, 1)], start=1
        ):
            kernel = nn.Conv2d(inside, outside, side, stride=step, padding=side // 2, bias=False)
            self.add_module(f"conv{number}", kernel)
            self.add_module(f"bn{number}", nn.BatchNorm2d(outside))
        self.steps = 3 if bottleneck else 2
        self.downsample = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, images):
        maps = images
        for number in range(1, self.steps + 1):
            maps = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(maps))
            maps = functional.relu(maps) if number < self.steps else maps
        return functional.relu(maps + (images if self.downsample is None else self.downsample(images)))


class ResNet(nn.Module):
    def __init__(self, layers, bottleneck, channels=3, classes=1000):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        width = 64
        for stage, count in enumerate(layers):
            planes, blocks = 64 * 2**stage, nn.Sequential()
            for number in range(count):
                blocks.append(Block(width, planes, 2 if stage and not number else 1, bottleneck))
                width = planes * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, classes)

    def maps(self, images):
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.layer4(self.layer3(self.layer2(self.layer1(maps))))


def network(name, channels=3, seed=0):
    """A network of random weights and statistics in evaluation mode, its maps neither vanishing nor growing."""
    torch.manual_seed(seed)
    if name == "densenet121":
        net = DenseNet(channels)
    else:
        net = ResNet((2, 2, 2, 2) if name == "resnet18" else (3, 4, 6, 3), name == "resnet50", channels)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.6)
    return net.eval()


def _renamed(pattern, replacement):
    return lambda named: {re.sub(pattern, replacement, name): tensor for name, tensor in named.items()}


def _radimagenet(named):
    """The children of a torchvision network in a Sequential called backbone, without the last."""
    steps = (
        ["features"] if "classifier.weight" in named else "conv1 bn1 relu maxpool layer1 layer2 layer3 layer4".split()
    )
    kept = {}
    for name, tensor in named.items():
        first, _, rest = name.partition(".")
        if first in steps:
            kept[f"backbone.{steps.index(first)}.{rest}"] = tensor
    return kept


def _monai(named):
    """DenseNet's layers stand in Sequentials, its classifier is called otherwise; shortcuts have a bias."""
    named = _renamed(r"(denselayer\d+)\.", r"\1.layers.")(named)
    named = _renamed(r"^classifier\.", "class_layers.out.")(named)
    shortcuts = {name: tensor for name, tensor in named.items() if name.endswith("downsample.0.weight")}
    return named | {name.replace("weight", "bias"): torch.zeros(len(tensor)) for name, tensor in shortcuts.items()}


LAYOUTS = {
    "torchvision": lambda named: named,  # timm's too: its norms hold their activations, which have no parameters
    "torchvision_2017": _renamed(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2."),
    "xrayvision": lambda named: named | {"op_threshs": torch.zeros(18)},
    "xrayvision_resnet": _renamed(r"^", "model."),
    "radimagenet": _radimagenet,
    "monai": _monai,
    "parallel": _renamed(r"^", "module.backbone."),
}
