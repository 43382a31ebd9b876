"""From optical depth to a displayed radiograph: Beer-Lambert, scatter, blur, photon noise, grey curve, borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medmm.data.phantom.geometry import Array, View
from medmm.data.phantom.subject import Acquisition

SCATTER_MM = 32.0
"""Width (standard deviation) of the scattered light's spread."""
BLUR_MM = 0.75
"""Width (standard deviation) of the detector's point spread."""

COARSE, FINE = 0.07, 0.015
"""Widths (standard deviation) of the display's structure filters, as shares of the image's side."""


@dataclass(frozen=True)
class Display:
    """How the exposure is turned into grey values.

    Attributes:
        low, high: Quantiles of the logarithmic signal in the image's middle that become dark and bright.
        gamma: Exponent of the curve.
        margin: Room left below and above, as a share of the range.
        compress: Share of the coarse structure (``COARSE``) that is taken away, which evens out thick and thin parts.
        detail: Share of fine structure (``FINE``) that is added.
        collimation: Dark borders as shares of the side: top, bottom, left, right.
    """

    low: float
    high: float
    gamma: float
    margin: tuple[float, float]
    compress: float
    detail: float
    collimation: tuple[float, float, float, float]


def display(rng: np.random.Generator) -> Display:
    """Draw a display setting."""
    edges = np.where(rng.random(4) < 0.22, rng.uniform(0.01, 0.07, 4), 0.0)
    return Display(
        low=rng.uniform(0.002, 0.04),
        high=rng.uniform(0.95, 0.997),
        gamma=float(np.exp(rng.normal(0, 0.16))),
        margin=(rng.uniform(0.0, 0.16), rng.uniform(0.0, 0.12)),
        compress=rng.uniform(0.55, 0.75),
        detail=rng.uniform(0.6, 1.2),
        collimation=(float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3])),
    )


def expose(
    depth: Array, view: View, exposure: Acquisition, rng: np.random.Generator, open_beam_scatters: bool = True
) -> Array:
    """Logarithm of the inverse signal at the detector [rows, columns]: 0 in free air, more where more is in the beam.

    The primary beam follows Beer and Lambert, ``exp(-depth)``; scatter is the primary, spread widely; photon counts
    are large enough everywhere (over 20 a pixel) for the normal form of Poisson's law, whose draws do not depend on
    the image and so are the same on every processor.

    Args:
        depth: Optical depth [rows, columns].
        view: Size of a pixel.
        exposure: Dose and share of scatter.
        rng: Source of the noise.
        open_beam_scatters: Whether rays beside the patient spread like others. They do not in truth; frontal images,
            which hardly have any, keep it for the sake of their frozen pixels.
    """
    import cv2

    primary = np.exp(-depth)
    source = primary if open_beam_scatters else primary * (1 - primary)
    small = cv2.resize(source, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    spread = cv2.GaussianBlur(small, (0, 0), SCATTER_MM / view.spacing_mm / 4, borderType=cv2.BORDER_REPLICATE)
    glow = cv2.resize(spread, (view.columns, view.rows), interpolation=cv2.INTER_LINEAR)
    signal = primary + np.float32(exposure.scatter) * glow
    signal = cv2.GaussianBlur(signal, (0, 0), max(BLUR_MM / view.spacing_mm, 0.3), borderType=cv2.BORDER_REPLICATE)
    photons = signal * np.float32(exposure.dose * view.spacing_mm**2)
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    counts = np.maximum(photons + np.sqrt(photons) * noise, 1)
    return -np.log(counts / np.float32(exposure.dose * view.spacing_mm**2))


def develop(signal: Array, setting: Display) -> Array:
    """Grey values in [0, 1] [rows, columns]: air dark, bone bright (MONOCHROME2)."""
    import cv2

    rows, columns = signal.shape
    small = cv2.resize(signal, (max(columns // 4, 1), max(rows // 4, 1)), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(small, (0, 0), COARSE * small.shape[1], borderType=cv2.BORDER_REPLICATE)
    coarse = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_LINEAR)
    fine = cv2.GaussianBlur(signal, (0, 0), FINE * columns, borderType=cv2.BORDER_REPLICATE)
    signal = signal - np.float32(setting.compress) * coarse + np.float32(setting.detail) * (signal - fine)
    middle = signal[rows // 8 : rows * 7 // 8, columns // 8 : columns * 7 // 8]
    low, high = np.quantile(middle[::2, ::2], [setting.low, setting.high])
    below, above = setting.margin
    grey = np.clip((signal - np.float32(low)) / np.float32(high - low), -below, 1 + above)
    grey = (grey + np.float32(below)) / np.float32(1 + below + above)
    return _collimate(np.minimum(grey ** np.float32(setting.gamma), 1), setting)


def _collimate(grey: Array, setting: Display) -> Array:
    rows, columns = grey.shape
    top, bottom, left, right = setting.collimation
    shut = np.zeros_like(grey)
    open_ = (
        slice(round(top * rows), rows - round(bottom * rows)),
        slice(round(left * columns), columns - round(right * columns)),
    )
    shut[open_] = grey[open_]
    return shut
