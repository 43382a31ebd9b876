"""Prompts that are learned: vectors in front of a finding's name, read by a text tower that stays as it is.

Shape legend: F findings, L context vectors, T tokens of a finding's name with its end, K channels of a token,
D channels of the shared space. Source: Zhou et al. 2022, Learning to Prompt for Vision-Language Models (CoOp); the
context is shared by all findings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medmm.models.dual_encoder import DualEncoder
from medmm.models.tokenizer import ReportTokenizer

BEGINNINGS = ("There is no", "There is")
"""Words that the contexts of absence and of presence begin as."""
_SPREAD = 0.02  # of context vectors that no word fills, as in CoOp


class PromptContexts(nn.Module):
    """Two learned contexts, of absence and of presence; they are its only parameters.

    Args:
        model: The towers; nothing of them is learned.
        tokenizer: Text to ids.
        names: The F findings in words.
        number: Context vectors L.
        seed: Seed of those that no word fills.

    Raises:
        ValueError: The contexts leave the text tower no place for a name.
    """

    def __init__(
        self, model: DualEncoder, tokenizer: ReportTokenizer, names: Sequence[str], number: int, seed: int
    ) -> None:
        super().__init__()
        self._model = [model]  # in a list: the towers are not parameters of this module
        places = model.text.places
        longest = 64 if places is None else places - number - 1
        if longest < 2:  # noqa: PLR2004 - a token and the end
            raise ValueError(f"{number} context vectors leave no place for a name")
        ids = [tokenizer.encode(f" {name}.", longest)[0].tolist() for name in names]
        table = model.text.embeddings.weight.detach()
        device, most = table.device, max(map(len, ids))
        padded = torch.tensor([[*one, *[tokenizer.pad] * (most - len(one))] for one in ids], device=device)
        lengths = torch.tensor([1 + number + len(one) for one in ids], device=device)
        self._names_ftk = table[padded]
        self._begin_k = table[tokenizer.begin]
        self._mask_ft = torch.arange(1 + number + most, device=device) < lengths[:, None]
        spread = torch.randn(2, number, table.shape[1], generator=torch.Generator().manual_seed(seed)) * _SPREAD
        contexts = spread.to(device)
        for row, words in enumerate(BEGINNINGS):
            known = table[tokenizer.encode(words, number + 1)[0][:-1].tolist()]
            contexts[row, number - len(known) :] = known
        self.contexts = nn.Parameter(contexts)

    def forward(self) -> Tensor:
        """``[F, 2, D]`` unit vectors of each finding's absence and presence."""
        model, number = self._model[0], len(self._names_ftk)
        begin = self._begin_k.expand(number, 1, -1)
        rows = [torch.cat([begin, context.expand(number, -1, -1), self._names_ftk], dim=1) for context in self.contexts]
        mask = self._mask_ft.repeat(2, 1)
        features = model.text.model(inputs_embeds=torch.cat(rows), attention_mask=mask.long()).last_hidden_state
        vectors: Tensor = model.text_pool(features.float(), mask)
        return vectors.unflatten(0, (2, number)).transpose(0, 1)
