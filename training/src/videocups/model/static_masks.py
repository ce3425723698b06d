"""The mask head without a transposed convolution, which no CPU runtime does in eight bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from videocups.model.masks import MaskHead

_SIDE = 2  # each cell becomes 2 × 2


class StaticMaskHead(nn.Module):
    """What ``head`` computes: its stride-2 enlargement as a 1 × 1 convolution to four cells, which move apart last.

    The first layers are shared with ``head``; the last two are copies of its weights in another order.
    """

    def __init__(self, head: MaskHead) -> None:
        super().__init__()
        self.convs = head.convs
        inputs, channels = head.enlarge.weight.shape[:2]
        cells = _SIDE**2
        self.enlarge = nn.Conv2d(inputs, cells * channels, 1).to(head.enlarge.weight)
        self.predict = nn.Conv2d(cells * channels, cells, 1).to(head.enlarge.weight)
        assert head.enlarge.bias is not None
        assert head.predict.bias is not None
        with torch.no_grad():  # outputs by row and column of the cell, then by channel
            self.enlarge.weight.copy_(head.enlarge.weight.permute(2, 3, 1, 0).reshape(self.enlarge.weight.shape))
            self.enlarge.bias.copy_(head.enlarge.bias.repeat(cells))  # type: ignore[union-attr]
            # each cell reads its own channels; a convolution in groups of one output would be slower than its zeros
            own = torch.eye(cells).to(head.predict.weight).repeat_interleave(channels, dim=1)
            self.predict.weight.copy_((own * head.predict.weight.flatten().repeat(cells))[:, :, None, None])
            self.predict.bias.copy_(head.predict.bias.repeat(cells))  # type: ignore[union-attr]

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (R, C, s, s) to logits (R, 2s, 2s)."""
        field = pooled
        for conv in self.convs:
            field = torch.relu(conv(field))
        logits = self.predict(torch.relu(self.enlarge(field)))
        return functional.pixel_shuffle(logits, _SIDE)[:, 0]
