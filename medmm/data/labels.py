"""What the values of masks' voxels and the channels of images stand for: as the config or the layout says."""

from __future__ import annotations

from medmm import registry
from medmm.config.schema import DataConfig


def mask_labels(config: DataConfig) -> dict[str, tuple[int, ...]]:
    """Name of a structure to the values of its voxels, in the order of the config or the layout.

    Several values make a region (nnU-Net); regions may overlap. The background, 0, has no name. Empty: masks are
    binary, nonzero is foreground.

    Raises:
        DataError: The layout's own table cannot be read.
    """
    if config.labels or config.reader not in registry.names("labels"):
        return dict(config.labels)
    found: dict[str, tuple[int, ...]] = registry.resolve("labels", config.reader)(config)
    return found


def image_channels(config: DataConfig) -> tuple[str, ...]:
    """Names of an image's channels in their order, as the layout has them; empty where it says nothing.

    Raises:
        DataError: The layout's own list cannot be read.
    """
    if config.reader not in registry.names("channels"):
        return ()
    found: tuple[str, ...] = registry.resolve("channels", config.reader)(config)
    return found
