"""Image encoder, head and language model as one module: the part that every model that writes shares.

Shape legend: B studies, V views, N tokens of a view, M = V * N, R of them that the language model reads, K and E
channels of an image token and of an embedding of the language model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medmm.config.schema import PreprocessConfig
from medmm.models.decoder import TextDecoder
from medmm.models.image_encoder import ImageEncoder
from medmm.models.study_encoder import StudyEncoder


class StudyWriter(StudyEncoder):
    """Encodes a study and hands its image tokens, averaged, to a language model.

    Args:
        encoder: Image encoder.
        decoder: Language model.
        head: What looks at the image tokens for it, None to do without.
        preprocess: Mean and standard deviation that images in [0, 1] are normalised by.
        max_views: Most views of a study.
        prefix_grid: Most tokens of a view along each axis that the language model reads.
    """

    average_rn: Tensor

    def __init__(
        self, encoder: ImageEncoder, decoder: TextDecoder, head: nn.Module | None, preprocess: PreprocessConfig,
        max_views: int, prefix_grid: int,
    ) -> None:  # fmt: skip
        super().__init__(encoder, preprocess, max_views)
        self.decoder, self.head = decoder, head
        self.register_buffer("average_rn", averaging(encoder.grid, prefix_grid), persistent=False)
        self.bridge = nn.Sequential(nn.Linear(encoder.width, decoder.width), nn.LayerNorm(decoder.width))

    @property
    def image_length(self) -> int:
        """Most image tokens of a study that the language model reads."""
        return len(self.view) * len(self.average_rn)

    def bridged(self, tokens_bmk: Tensor, mask_bm: Tensor) -> tuple[Tensor, Tensor]:
        """Image tokens as the language model reads them, ``[B, V * R, E]``, and their mask."""
        views_bvnk = tokens_bmk.unflatten(1, (-1, self.encoder.count))
        read = self.bridge((self.average_rn @ views_bvnk).flatten(1, 2))
        return read, mask_bm.unflatten(1, (-1, self.encoder.count))[:, :, : len(self.average_rn)].flatten(1)


def absent_first(embeddings_bpe: Tensor, mask_bp: Tensor) -> tuple[Tensor, Tensor]:
    """A prefix with what is masked moved to its left end, and its mask; the others keep their order."""
    order = torch.argsort(mask_bp.int(), dim=1, stable=True)
    moved = torch.take_along_dim(embeddings_bpe, order.unsqueeze(-1), dim=1)
    return moved, torch.take_along_dim(mask_bp, order, dim=1)


def averaging(grid: tuple[int, ...], most: int) -> Tensor:
    """Matrix that averages tokens on a grid to at most ``most`` along each axis.

    A product repeats bit for bit on a GPU, where the gradient of adaptive pooling does not.

    Args:
        grid: Tokens along each axis; the last axis runs fastest.
        most: Most tokens along each axis afterwards.

    Returns:
        ``[R, N]`` float32 whose rows sum to 1.
    """
    whole = torch.ones(1, 1)
    for side in grid:
        axis = torch.zeros(min(side, most), side)
        for row, part in enumerate(torch.arange(side).tensor_split(len(axis))):
            axis[row, part] = 1 / len(part)
        whole = torch.kron(whole, axis)
    return whole
