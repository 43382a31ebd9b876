"""What is made of each phantom study: the frontal radiograph alone, a lateral one beside it, or a CT scan."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medmm.config.sources import PhantomConfig


@dataclass(frozen=True)
class Options:
    """Choices beside seed, number and size; the defaults make what every version has made.

    Attributes:
        modality: ``radiograph`` or ``ct``.
        lateral: Share of the upright studies with a lateral radiograph; 0 makes frontal ones only.
        volume_shape: Slices, rows and columns of a CT volume.
        volume_spacing_mm: Distance of its slices, and of the voxels in a slice; None: the chest fills the volume.
        volume_format: ``nifti`` (a file a study) or ``dicom`` (a series a study).
        syntaxes: Names of transfer syntaxes, taken in turn; empty: drawn for each study.
        objects: ``report``, ``segmentation``, ``structure_set``: what DICOM holds beside the images.
        organs: Whether masks of lungs and heart lie beside those of a radiograph's findings.
    """

    modality: str = "radiograph"
    lateral: float = 0.0
    volume_shape: tuple[int, int, int] = (128, 128, 128)
    volume_spacing_mm: tuple[float, float] | None = None
    volume_format: str = "nifti"
    syntaxes: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    organs: bool = False

    @classmethod
    def of(cls, config: PhantomConfig) -> Options:
        """The choices of a config."""
        made = cls(syntaxes=config.syntaxes, objects=config.objects)
        if config.modality != "ct":
            lateral = config.lateral_share if "lateral" in config.views else 0.0
            return replace(made, lateral=lateral, organs=config.organs)
        return replace(
            made,
            modality="ct",
            volume_shape=config.volume_shape,
            volume_spacing_mm=config.volume_spacing_mm,
            volume_format=config.volume_format,
        )

    @property
    def ct(self) -> bool:
        """Whether CT scans are made."""
        return self.modality == "ct"

    def whole(self) -> dict[str, Any]:
        """All choices as JSON holds them."""
        return dict(json.loads(json.dumps(asdict(self))))

    def said(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON holds it."""
        usual = Options().whole()
        return {key: value for key, value in self.whole().items() if value != usual[key]}

    def syntax(self, number: int) -> str | None:
        """Transfer Syntax UID of a study's images; None: its own."""
        from medmm.data.phantom.compression import NAMES

        return NAMES[self.syntaxes[number % len(self.syntaxes)]] if self.syntaxes else None

    @property
    def suffix(self) -> str:
        """Ending of a folder's name; empty for the defaults."""
        said = self.said()
        if not said:
            return ""
        return f"-{self.modality}-{hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]}"

    def study_bytes(self, size: int) -> int:
        """About what a study takes on disk, with radiographs of ``size`` x ``size`` pixels."""
        if self.ct:
            return math.prod(self.volume_shape) * (2 if self.volume_format == "dicom" else 1) * 5 // 4
        return int(110_000 * size**2 // 256**2 * (1 + self.lateral))
