"""Published weights of DenseNet-121 and of ResNets in medmm's image encoders, found by name, with what was found.

A state dict of torchvision, timm, TorchXRayVision, RadImageNet, MONAI or medmm names the same layers in its own way:

| whose | DenseNet-121 | ResNet |
|---|---|---|
| torchvision, timm, TorchXRayVision | ``features.denseblock1.denselayer1.norm1.weight`` | ``layer1.0.conv1.weight`` |
| torchvision's files of 2017 | ``features.denseblock1.denselayer1.norm.1.weight`` | the same |
| RadImageNet | ``backbone.0.denseblock1.denselayer1.norm1.weight`` | ``backbone.4.0.conv1.weight`` |
| MONAI | ``features.denseblock1.denselayer1.layers.norm1.weight`` | ``layer1.0.conv1.weight`` |
| medmm | ``0.denseblock1.denselayer1.layers.norm1.weight`` | ``stages.4.0.conv1.weight`` |

What stands before these names (``module.``, ``model.``, ``encoder_q.`` …) is whatever most of them share.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medmm.errors import CheckpointError
from medmm.models.published_files import read_published

LEAST_SHARE = 0.5
"""Share of the backbone's numbers that a file must give: less is another network's."""
_SHOWN = 12  # names listed of each kind
_WHERE = "model.encoder.weights"
_DENSE = re.compile(r"(denselayer\d+)\.(?:layers\.)?(norm|conv)\.?([12])\.")
_STEPS = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""A ResNet's layers by their place among its children, as RadImageNet and medmm have them, to what others call them."""


@dataclass(frozen=True)
class TakenWeights:
    """What a file gave to a backbone.

    Attributes:
        file: Its name, without the folder.
        prefix: What stood before the names.
        names: How many tensors were taken.
        parameters: Numbers in them, running statistics included.
        whole: Numbers that the backbone has.
        missing: The backbone's names that the file does not have.
        reshaped: Those that it has in another shape.
        left_out: Names of the file that the backbone has no place for, such as the classifier's.
        changes: How tensors were made to fit, one sentence each.
    """

    file: str
    prefix: str
    names: int
    parameters: int
    whole: int
    missing: tuple[str, ...]
    reshaped: tuple[str, ...]
    left_out: tuple[str, ...]
    changes: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of the backbone's numbers that were taken, in [0, 1]."""
        return self.parameters / max(1, self.whole)

    def as_dict(self) -> dict[str, Any]:
        """For ``run.json``."""
        lists = {name: list(getattr(self, name)) for name in ("missing", "reshaped", "left_out", "changes")}
        counts = {name: getattr(self, name) for name in ("file", "prefix", "names", "parameters", "whole")}
        return counts | {"share": round(self.share, 4)} | lists

    def lines(self) -> list[str]:
        """For people: what matched, what did not, and how tensors were changed."""
        first = (
            f"{self.file}: {self.names} tensors, {self.parameters:,} of {self.whole:,} parameters"
            f" ({self.share:.1%}) of the encoder's backbone taken"
        )
        return [first, *self.changes, *self.gaps()]

    def gaps(self) -> list[str]:
        """What did not match, one line a kind."""
        kinds = {"missing": self.missing, "of another shape": self.reshaped, "left out": self.left_out}
        return [f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names]


@dataclass
class _Fitting:
    """Tensors on their way into a backbone, by its names."""

    taken: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    changes: dict[str, None] = field(default_factory=dict)  # as a set that keeps its order


def take_published(backbone: nn.Module, path: Path) -> TakenWeights:
    """Copy the weights of a file into a backbone, all that fit or none.

    A state dict does not say how its network was run: a stem of stride 1 (MONAI's own default), the stride of a
    bottleneck in its first kernel (He et al. 2016, Keras) or dilated stages (MedicalNet) fit by name and shape, and
    give other maps here, where ResNets are torchvision's.

    Args:
        backbone: Of ``densenet121``, ``resnet18`` or ``resnet50``, as an image encoder has it.
        path: As :func:`medmm.models.published_files.read_published` takes it.

    Raises:
        CheckpointError: The file is refused, holds several such networks, holds numbers that are not finite, or gives
            less than :data:`LEAST_SHARE` of the backbone; what did not match is listed.
    """
    theirs = read_published(path)
    ours = {name: tensor for name, tensor in backbone.state_dict().items() if not _counts_batches(name)}
    prefix, found = _matched(theirs, ours, path)
    fitting = _fit(backbone, ours, {name: theirs[own] for name, own in found.items()})
    taken = TakenWeights(
        file=path.name,
        prefix=prefix,
        names=len(found.keys() & fitting.taken.keys()),
        parameters=sum(tensor.numel() for tensor in fitting.taken.values()),
        whole=sum(tensor.numel() for tensor in ours.values()),
        missing=tuple(fitting.missing),
        reshaped=tuple(fitting.reshaped),
        left_out=tuple(sorted({name for name in theirs if not _counts_batches(name)} - set(found.values()))),
        changes=tuple(fitting.changes),
    )
    _require_enough(taken, fitting)
    with torch.no_grad():
        for name, tensor in fitting.taken.items():
            ours[name].copy_(tensor)
    return taken


def _require_enough(taken: TakenWeights, fitting: _Fitting) -> None:
    if taken.share < LEAST_SHARE:
        raise CheckpointError(
            "the weights are of another network", where=_WHERE,
            got=f"{taken.share:.1%} of the encoder's backbone in {taken.file} ({'; '.join(taken.gaps())})",
            expected=f"at least {LEAST_SHARE:.0%}", fix="Set model.encoder.name to the network that they are of.",
        )  # fmt: skip
    broken = [name for name, tensor in fitting.taken.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        got = f"{len(broken)} tensors: {_listed(tuple(broken))}"
        raise CheckpointError("the weights hold numbers that are not finite", where=_WHERE, got=got)


def _matched(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], path: Path) -> tuple[str, dict[str, str]]:
    """What stands before the names that most of the backbone's are found behind, and its names to the file's."""
    groups: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    spellings = _spellings(ours)
    for name in theirs:
        parts = _DENSE.sub(r"\1.\2\3.", name).split(".")
        for cut in range(len(parts)):
            prefix, rest = ".".join([*parts[:cut], ""]), ".".join(parts[cut:])
            for number, spelling in enumerate(spellings):
                if rest in spelling:
                    groups[prefix, number][spelling[rest]] = name
    if not groups:
        return "", {}
    sizes = {key: sum(ours[name].numel() for name in found) for key, found in groups.items()}
    most = max(sizes.values())
    best = [key for key, size in sizes.items() if size == most]
    if len(best) > 1 and most >= LEAST_SHARE * sum(tensor.numel() for tensor in ours.values()):
        raise CheckpointError(
            "the file holds several such networks", where=_WHERE,
            got=f"{path.name}: names that begin with {', '.join(sorted(repr(prefix) for prefix, _ in best))}",
            expected="one", fix="Keep the one that you want in a file of its own.",
        )  # fmt: skip
    return best[0][0], groups[best[0]]


def _spellings(ours: Mapping[str, Tensor]) -> list[dict[str, str]]:
    """Every way in which all of the backbone's names may be written, without prefix, to the backbone's own."""
    if any(name.startswith("stages.") for name in ours):
        numbered = {name.removeprefix("stages."): name for name in ours}
        return [numbered, {_named(short): name for short, name in numbered.items()}]
    return [{_DENSE.sub(r"\1.\2\3.", name).removeprefix("0."): name for name in ours}]


def _named(numbered: str) -> str:
    place, _, rest = numbered.partition(".")
    return f"{_STEPS.get(place, place)}.{rest}"


def _fit(backbone: nn.Module, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> _Fitting:
    """Give each tensor the backbone's shape, where it can be given."""
    fitting, stem = _Fitting(), next(iter(ours))
    for name, own in ours.items():
        if name in theirs:
            tensor, changes = _reshaped(theirs[name], own, is_stem=name == stem)
            if tensor.shape == own.shape and tensor.is_floating_point():
                fitting.taken[name] = tensor
                fitting.changes |= dict.fromkeys(changes)
            else:
                fitting.reshaped.append(f"{name} {tuple(theirs[name].shape)} for {tuple(own.shape)}")
        else:
            fitting.missing.append(name)
    for name in list(_spare_biases(backbone, fitting)):
        # MONAI's shortcuts have a bias before their norm, which others leave out: theirs is zero.
        fitting.taken[name] = torch.zeros_like(ours[name])
        fitting.missing.remove(name)
    return fitting


def _spare_biases(backbone: nn.Module, fitting: _Fitting) -> Iterator[str]:
    """Biases of kernels whose file has the kernel alone."""
    for name in fitting.missing:
        module, _, last = name.rpartition(".")
        is_kernel = isinstance(backbone.get_submodule(module), (nn.Conv2d, nn.Conv3d))
        if last == "bias" and is_kernel and f"{module}.weight" in fitting.taken:
            yield name


def _reshaped(tensor: Tensor, own: Tensor, is_stem: bool) -> tuple[Tensor, list[str]]:
    """Fold a stem's channels and repeat a 2D kernel along depth, where that is what differs; say what was done."""
    changes: list[str] = []
    if tensor.ndim < 4:
        return tensor, changes
    theirs, wanted = tensor.shape[1], own.shape[1]
    if is_stem and theirs != wanted:
        # A grey image in every channel gives the sum over the channels: nothing is lost of what the network makes of
        # it. Where it normalised each channel otherwise (ImageNet: means 0.485, 0.456, 0.406, deviations 0.229, 0.224,
        # 0.225), one mean and one deviation can only be near: 0.449 and 0.226, which preprocess.mean and .std may be.
        tensor = tensor.float().sum(1, keepdim=True).expand(-1, wanted, *tensor.shape[2:]) / wanted
        changes.append(f"the stem's {theirs} channels were summed to {wanted}")
    if tensor.ndim == 4 and own.ndim == 5:
        # Carreira & Zisserman 2017: a volume that is the same in every slice gives what its slice gave.
        depth = own.shape[2]
        tensor = tensor.float().unsqueeze(2).expand(-1, -1, depth, -1, -1) / depth
        changes.append("2D kernels were repeated along depth and divided by it")
    return tensor, changes


def _counts_batches(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
