"""Losses that pull studies and their texts together, with targets softened by how far findings agree.

Shape legend: R rows (texts or studies of this process), C columns (of all processes), B studies, F findings,
D channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from medmm.tasks.statements import ABSENT, NO_SIDE, PRESENT, UNKNOWN

_DISAGREEMENT = 1.5
"""What a contradiction costs: a pair with k of them counts exp(-k * 1.5) as much as one without."""


def agreement(
    said_rf: Tensor, side_rf: Tensor, whole_r: Tensor, shown_cf: Tensor, shown_side_cf: Tensor
) -> tuple[Tensor, Tensor]:
    """How far what texts say holds of studies.

    Args:
        said_rf: ``[R, F]`` what each text says of a finding: ``PRESENT``, ``ABSENT`` or ``UNKNOWN``.
        side_rf: ``[R, F]`` index of the side that it says, ``NO_SIDE`` where none.
        whole_r: ``[R]`` bool, whether a text is a whole report, which keeps silent of what is absent.
        shown_cf: ``[C, F]`` the same of studies, as their whole reports have it.
        shown_side_cf: ``[C, F]`` their sides.

    Returns:
        ``[R, C]`` in (0, 1], 1 without contradiction; and bool ``[R]``, whether a text says anything at all.
    """
    said = torch.where((said_rf == UNKNOWN) & whole_r[:, None], ABSENT, said_rf)
    shown = torch.where(shown_cf == UNKNOWN, ABSENT, shown_cf)
    claims, denies = (said == PRESENT).float(), (said == ABSENT).float()
    has = (shown == PRESENT).float()
    wrong = claims @ (1 - has).T + denies @ has.T
    sided = functional.one_hot(side_rf.clamp(min=-1) + 1, 4)[..., 1:].float() * claims.unsqueeze(-1)  # [R, F, 3]
    shown_sided = functional.one_hot(shown_side_cf.clamp(min=-1) + 1, 4)[..., 1:].float() * has.unsqueeze(-1)
    both = sided.sum(-1) @ shown_sided.sum(-1).T
    same = torch.einsum("rfl,cfl->rc", sided, shown_sided)
    return torch.exp(-_DISAGREEMENT * (wrong + both - same)), (claims + denies).sum(1) > 0


def soft_targets(own_rc: Tensor, agreement_rc: Tensor, speaks_r: Tensor, soften: float) -> Tensor:
    """Where each row's mass goes: to its own column, and by a share to all with which it agrees.

    Args:
        own_rc: ``[R, C]`` float, 1 where row and column are of one study.
        agreement_rc: ``[R, C]`` in [0, 1].
        speaks_r: ``[R]`` or ``[R, C]`` bool, False where nothing is known of agreement.
        soften: The share.

    Returns:
        ``[R, C]``, rows that sum to 1.
    """
    agreed = torch.where(speaks_r.unsqueeze(-1) if speaks_r.ndim == 1 else speaks_r, agreement_rc, own_rc)
    agreed = torch.maximum(agreed, own_rc)
    return (1 - soften) * own_rc + soften * agreed / agreed.sum(1, keepdim=True)


def infonce(rows_rd: Tensor, columns_cd: Tensor, scale: Tensor, targets_rc: Tensor) -> Tensor:
    """Cross entropy of each row's choice among the columns (van den Oord et al. 2018) against soft targets."""
    return functional.cross_entropy(scale * rows_rd @ columns_cd.T, targets_rc)


def sigmoid_contrast(rows_rd: Tensor, columns_cd: Tensor, scale: Tensor, bias: Tensor, targets_rc: Tensor) -> Tensor:
    """A sigmoid a pair (Zhai et al. 2023), summed over the columns and averaged over the rows.

    Args:
        rows_rd: ``[R, D]`` unit vectors.
        columns_cd: ``[C, D]`` unit vectors.
        scale: Factor of cosines.
        bias: Added to them.
        targets_rc: ``[R, C]`` in [0, 1], how far a pair belongs together.
    """
    logits = scale * rows_rd @ columns_cd.T + bias
    return functional.binary_cross_entropy_with_logits(logits, targets_rc, reduction="none").sum(1).mean()


def late_likeness(words_btd: Tensor, mask_bt: Tensor, regions_bmd: Tensor, mask_bm: Tensor) -> tuple[Tensor, Tensor]:
    """How well words find their region in each image, and regions their word (Yao et al. 2022).

    Returns:
        ``[B texts, B images]`` mean over a text's words of the best region, and ``[B images, B texts]`` mean over an
        image's regions of the best word.
    """
    pairs = torch.einsum("itd,jmd->ijtm", words_btd, regions_bmd)
    far = torch.finfo(pairs.dtype).min
    best_region = pairs.masked_fill(~mask_bm[None, :, None, :], far).amax(3)
    best_word = pairs.masked_fill(~mask_bt[:, None, :, None], far).amax(2)
    words, regions = mask_bt.float(), mask_bm.float()
    of_texts = (best_region * words[:, None]).sum(2) / words.sum(1)[:, None]
    of_images = (best_word * regions[None]).sum(2) / regions.sum(1)[None]
    return of_texts, of_images.T


def everywhere(tensor: Tensor) -> Tensor:
    """The rows of all processes, in their order, with gradients to each; this process's own where it is alone.

    Nothing is gathered where gradients are off: one process validates while the others wait.
    """
    import torch.distributed as dist

    if not (torch.is_grad_enabled() and dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    rows: Tensor = _Gathered.apply(tensor)
    return rows


class _Gathered(torch.autograd.Function):
    """Rows of all processes; backward, what all of them ask of this process's rows comes together."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        import torch.distributed as dist

        found = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(found, tensor.contiguous())
        ctx.rows = len(tensor)
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        import torch.distributed as dist

        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.rows
        return total[start : start + ctx.rows]


def own_columns(rows: int, columns: int, device: torch.device) -> Tensor:
    """``[R, C]`` float, 1 where a row of this process meets its own column among those of all processes."""
    import torch.distributed as dist

    rank = dist.get_rank() if columns > rows else 0
    own = torch.zeros(rows, columns, device=device)
    own[torch.arange(rows), rank * rows + torch.arange(rows)] = 1
    return own


__all__ = ["NO_SIDE", "agreement", "everywhere", "infonce", "late_likeness", "own_columns", "sigmoid_contrast",
           "soft_targets"]  # fmt: skip
