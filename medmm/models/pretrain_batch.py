"""What a step of pretraining shows the model, and what the model makes of it.

Shape legend: B studies, V views, M = V * N image tokens of a study, T words, D channels of the shared space, U studies
that teach more than the contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PretrainInputs:
    """What a step shows the model.

    Attributes:
        images: ``[B, V, 1, *S]`` float32 in [0, 1].
        view_mask: ``[B, V]`` bool.
        ids_bt: ``[B, T]`` int64 token ids of a text a study.
        mask_bt: ``[B, T]`` bool, False for padding.
        part: The first U studies teach masked text, masked image, matching and local alignment.
        masked_ut: ``[U, T]`` the ids with words hidden; None without masked text.
        hidden: ``[views of the U studies, N]`` bool, True where a patch is hidden; None without masked image.
        unlike_uu: ``[U, U]`` bool, True where an image is a wrong one for a text; None without matching.
        alone_ids: ``[A, T']`` masked ids of texts that have no image; None without such texts.
        alone_mask: Their mask.
    """

    images: Tensor
    view_mask: Tensor
    ids_bt: Tensor
    mask_bt: Tensor
    part: int = 0
    masked_ut: Tensor | None = None
    hidden: Tensor | None = None
    unlike_uu: Tensor | None = None
    alone_ids: Tensor | None = None
    alone_mask: Tensor | None = None


@dataclass(frozen=True)
class PretrainOutput:
    """What it makes of it; None where an objective is off.

    Attributes:
        images_bd: ``[B, D]`` unit vectors of the studies.
        texts_bd: ``[B, D]`` unit vectors of the texts.
        scale: Factor of cosines, the inverse of the temperature.
        bias: Added to them by the sigmoid loss; None without it.
        words_utd: ``[U, T, D]`` unit vectors of the words.
        regions_umd: ``[U, M, D]`` unit vectors of the image tokens.
        region_mask_um: ``[U, M]`` bool.
        told_utv: ``[U, T, V]`` logits of the words, told with the image.
        told_alone: The same for texts without image.
        completed: ``[views, N, pixels]`` patches as the model completes them.
        patches: The patches as they are, normalised each.
        matched_u: ``[U]`` logits that text and image belong together, for the right pairs.
        mismatched_u: The same for wrong pairs.
        wrong_u: ``[U]`` bool, whether there was a wrong image for the text at all.
        views_bvd: ``[B, V, D]`` unit vectors of single views.
    """

    images_bd: Tensor
    texts_bd: Tensor
    scale: Tensor
    bias: Tensor | None = None
    words_utd: Tensor | None = None
    regions_umd: Tensor | None = None
    region_mask_um: Tensor | None = None
    told_utv: Tensor | None = None
    told_alone: Tensor | None = None
    completed: Tensor | None = None
    patches: Tensor | None = None
    matched_u: Tensor | None = None
    mismatched_u: Tensor | None = None
    wrong_u: Tensor | None = None
    views_bvd: Tensor | None = None
