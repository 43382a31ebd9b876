"""What a step of pretraining shows the model, and the losses of what it makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from medmm.config.pretraining import PretrainConfig
from medmm.data.dataset import Batch
from medmm.models.completion import hide
from medmm.models.pretrain_batch import PretrainInputs, PretrainOutput
from medmm.tasks.base import LossOutput
from medmm.tasks.contrast import (
    agreement,
    everywhere,
    infonce,
    late_likeness,
    own_columns,
    sigmoid_contrast,
    soft_targets,
)
from medmm.tasks.statements import Texts, drawn, unchanged

if TYPE_CHECKING:
    from medmm.tasks.pretraining import Pretraining

_IGNORED = -100
_ALIKE = 0.9  # pairs that agree as far as this are no wrong pairs
_LOCAL_SCALE = 15.0  # Yao et al. 2022 learn it and end near there
_EVALUATED = 1  # seed of what is hidden in validation, so that losses of two steps can be compared


@dataclass(frozen=True)
class Shown:
    """What a step shows.

    Attributes:
        inputs: For the model.
        texts: The texts that were drawn.
        hidden_words: ``[U, T]`` the words behind the masks, -100 elsewhere; None without masked text.
        alone_words: The same of texts without image.
    """

    inputs: PretrainInputs
    texts: Texts
    hidden_words: Tensor | None
    alone_words: Tensor | None


def show(task: Pretraining, batch: Batch, learning: bool) -> Shown:
    """Draw texts and what is hidden of texts and images; while validating nothing is left to chance."""
    if learning:
        return _show(task, batch, True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_EVALUATED)
        return _show(task, batch, False)


def _show(task: Pretraining, batch: Batch, learning: bool) -> Shown:
    config, names = task.config.pretrain, len(task.findings)
    if learning:
        texts = drawn(batch, names, task.tokenizer, config, task.longest)
    else:
        texts = unchanged(batch, names, task.tokenizer, task.longest)
    held = min(len(batch.study_ids), config.chunk or len(batch.study_ids))  # whose tokens are at hand
    part = min(held, max(1, round(config.part * len(batch.study_ids))))
    device = batch.images.device
    masked = hidden_words = hidden = unlike = alone = alone_mask = alone_words = None
    if config.masked_text:
        masked, hidden_words = _mask(task, texts.ids_bt[:part], texts.mask_bt[:part], config.text_mask)
        corpus = task.corpus()
        if learning and corpus.size:
            ids, alone_mask = corpus.draw(config.texts_batch, task.tokenizer.pad, device)
            alone, alone_words = _mask(task, ids, alone_mask, config.text_mask)
    if config.masked_image:
        views = int(batch.view_mask[:part].sum())
        hidden = hide(views, task.model.encoder.count, config.image_mask, torch.device("cpu")).to(device)
    if config.matching:
        own = torch.eye(part, dtype=torch.bool, device=device)  # a report may contradict itself
        unlike = (_agreement(texts, batch, part)[0] < _ALIKE) & ~own
    inputs = PretrainInputs(
        batch.images, batch.view_mask, texts.ids_bt, texts.mask_bt, part, masked, hidden, unlike, alone, alone_mask
    )
    return Shown(inputs, texts, hidden_words, alone_words)


def _mask(task: Pretraining, ids: Tensor, mask: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Hide words; of all texts together at least one is hidden. Begin, end and padding are not.

    Returns:
        Ids with the mask token in the place of what is hidden, and what is hidden, -100 elsewhere.
    """
    tokenizer = task.tokenizer
    free = mask & (ids != tokenizer.begin) & (ids != tokenizer.end)
    chance = torch.rand(ids.shape).to(ids.device).masked_fill(~free, 2.0)
    hidden = chance < share
    if not hidden.any():
        hidden.view(-1)[chance.argmin()] = bool(free.any())
    stand_in = tokenizer.mask if tokenizer.mask is not None else tokenizer.pad
    return ids.masked_fill(hidden, stand_in), ids.masked_fill(~hidden, _IGNORED)


def _agreement(texts: Texts, batch: Batch, part: int | None = None) -> tuple[Tensor, Tensor]:
    """How far the texts hold of the studies of all processes, or of the first ``part`` of this one alone."""
    shown, side = batch.targets["shown"], batch.targets["shown_side"]
    if part is not None:
        said = texts.said_bf[:part], texts.side_bf[:part], texts.whole_b[:part]
        return agreement(*said, shown[:part], side[:part])
    return agreement(texts.said_bf, texts.side_bf, texts.whole_b, everywhere(shown), everywhere(side))


def add_up(config: PretrainConfig, shown: Shown, output: PretrainOutput, batch: Batch) -> LossOutput:
    """The weighted sum of all objectives that are on."""
    found: dict[str, tuple[float, Tensor]] = {}
    if config.contrastive:
        found["contrastive"] = config.contrastive, contrastive(config, shown.texts, output, batch)
    if config.local and output.words_utd is not None:
        found["local"] = config.local, local(config, shown, output, batch)
    if output.told_utv is not None and shown.hidden_words is not None:
        found["masked_text"] = config.masked_text, _told(output.told_utv, shown.hidden_words)
    if output.told_alone is not None and shown.alone_words is not None:
        found["text_alone"] = config.masked_text, _told(output.told_alone, shown.alone_words)
    if output.completed is not None and output.patches is not None and shown.inputs.hidden is not None:
        error = (output.completed - output.patches).square().mean(-1)
        hidden = shown.inputs.hidden.float()
        found["masked_image"] = config.masked_image, (error * hidden).sum() / hidden.sum().clamp(min=1)
    if output.matched_u is not None:
        found["matching"] = config.matching, _matching(output)
    if output.views_bvd is not None:
        pulled = _views(output, batch.view_mask)
        if pulled is not None:
            found["views"] = config.views, pulled
    total = torch.stack([weight * loss for weight, loss in found.values()]).sum()
    return LossOutput(total, {name: loss.detach() for name, (_, loss) in found.items()})


def contrastive(config: PretrainConfig, texts: Texts, output: PretrainOutput, batch: Batch) -> Tensor:
    """Texts against studies and studies against texts, those of all processes as columns."""
    images, words = output.images_bd.float(), output.texts_bd.float()
    all_images, all_words = everywhere(images), everywhere(words)
    own = own_columns(len(images), len(all_images), images.device)
    of_texts, speaks = _agreement(texts, batch)
    stated = (everywhere(one) for one in (texts.said_bf, texts.side_bf, texts.whole_b.long()))
    said, side, whole = stated
    of_all, all_speak = agreement(said, side, whole > 0, batch.targets["shown"], batch.targets["shown_side"])
    rows = soft_targets(own, of_texts, speaks, config.soften)
    columns = soft_targets(own, of_all.T, all_speak[None].expand(len(images), -1), config.soften)
    scale = output.scale
    if output.bias is not None:
        reached = (1 - config.soften) * own + config.soften * torch.where(speaks[:, None], of_texts, own)
        targets = torch.maximum(reached, own)
        back = (1 - config.soften) * own + config.soften * torch.where(all_speak[None], of_all.T, own)
        return (
            sigmoid_contrast(words, all_images, scale, output.bias, targets)
            + sigmoid_contrast(images, all_words, scale, output.bias, torch.maximum(back, own))
        ) / 2
    return (infonce(words, all_images, scale, rows) + infonce(images, all_words, scale, columns)) / 2


def local(config: PretrainConfig, shown: Shown, output: PretrainOutput, batch: Batch) -> Tensor:
    """InfoNCE of how well words find their regions, and regions their words."""
    assert output.words_utd is not None
    assert output.regions_umd is not None
    assert output.region_mask_um is not None
    part = len(output.words_utd)
    of_texts, of_images = late_likeness(
        output.words_utd, shown.texts.mask_bt[:part], output.regions_umd, output.region_mask_um
    )
    agreed, speaks = _agreement(shown.texts, batch, part)
    own = torch.eye(part, device=agreed.device)
    rows = soft_targets(own, agreed, speaks, config.soften)
    columns = soft_targets(own, agreed.T, speaks[None].expand(part, -1), config.soften)
    one = functional.cross_entropy(_LOCAL_SCALE * of_texts.float(), rows)
    return (one + functional.cross_entropy(_LOCAL_SCALE * of_images.float(), columns)) / 2


def _told(logits: Tensor, hidden: Tensor) -> Tensor:
    told, words = logits.float().flatten(0, 1), hidden.flatten()
    total = functional.cross_entropy(told, words, ignore_index=_IGNORED, reduction="sum")
    return total / (words != _IGNORED).sum().clamp(min=1)


def _matching(output: PretrainOutput) -> Tensor:
    assert output.matched_u is not None
    assert output.mismatched_u is not None
    assert output.wrong_u is not None
    right = functional.softplus(-output.matched_u)
    wrong = functional.softplus(output.mismatched_u) * output.wrong_u
    return (right.sum() + wrong.sum()) / (len(right) + output.wrong_u.sum())


def _views(output: PretrainOutput, view_mask: Tensor) -> Tensor | None:
    """InfoNCE between the first two views of the studies that have two; None where fewer than two studies have."""
    assert output.views_bvd is not None
    rows = view_mask[:, :2].all(1)[: len(output.views_bvd)]
    if int(rows.sum()) < 2:  # noqa: PLR2004 - one study has nobody to be told from
        return None
    first, second = output.views_bvd[rows, 0].float(), output.views_bvd[rows, 1].float()
    own = torch.eye(len(first), device=first.device)
    scale = output.scale.clamp(max=math.exp(4))
    return (infonce(first, second, scale, own) + infonce(second, first, scale, own)) / 2
