"""Settings of ``--task segmentation``: what is outlined, by which network, on which grid."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from medmm.config.sources import Fraction, Section

Side = Annotated[int, Field(ge=16, le=1024)]
Millimetres = Annotated[float, Field(gt=0, le=50)]


class SegmentationConfig(Section):
    """What is outlined. Radiographs are stretched to ``preprocess.size``; volumes are cut into patches on a grid."""

    network: Literal["unet", "dynunet", "swin_unetr"] = "unet"
    """``unet``: a decoder on the stages of ``model.encoder``; ``dynunet``, ``swin_unetr``: MONAI's."""
    classes: tuple[str, ...] = ()
    """Structures; empty: those that the data name, else the masks that training studies have."""
    lesions: tuple[str, ...] = ()
    """Classes that are reported by size beside ``dice_mean`` and left out of it; the data may lack some."""
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None = None
    """Of the grid that volumes are brought to, along depth, rows and columns; None: planned from the data."""
    patch: tuple[Side, Side, Side] | None = None
    """Voxels that the network sees at once; None: planned from the data and the memory."""
    foreground: Fraction = 0.5
    """Share of the training patches that lie around a voxel of a class, each class as often."""
    deep_supervision: bool = True
    """Coarser maps of the decoder learn too."""
    dice_weight: float = Field(default=1.0, ge=0)
    """Weight of the Dice loss beside the cross entropy."""
    mirror: bool = False
    """Mirror left and right: training images at random, and at a prediction both ways averaged. Not for classes that
    have a side."""
    hide: Fraction = 0.0
    """Share of the training patches that are veiled in places, as disease veils a lung: what is learned is then a
    shape, not an edge alone."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Of neighbouring windows at a prediction, as a share of their side."""
    postprocess: bool = True
    """Keep the largest part of a class, fill its holes, or both, where that is better on validation."""
    tolerance_mm: float = Field(default=2.0, gt=0)
    """Distance up to which surfaces agree in ``surface_dice``."""

    @field_validator("classes", "lesions")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return names
