"""Gaussian filtering in many dimensions on the permutohedral lattice (Adams, Baek and Davis, 2010), on torch.

Points are lifted onto the hyperplane Σx = 0 of R^(d+1), which the lattice tiles with simplices of d + 1 vertices. A
value is spread over the vertices of its simplex (splat), vertices are blurred along the d + 1 lattice directions, and
every point gathers its simplex again (slice). Only vertices that a point touches exist, whatever the dimension.
All sums run through ``embedding_bag``, the fastest gather-and-add of torch on a CPU and on a GPU.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nn_functional
from torch import Tensor

SPARSE_BELOW = 20_000
"""Fewer points than this hardly share vertices and much would leak into absent ones: a ring of them is added."""


class PermutohedralLattice:
    """A Gaussian of standard deviation 1 over ``features`` (N, d) float32; scale the features for other widths.

    What comes out is the sum over all points times a constant of the lattice; divide by a filtered 1 for a mean.
    With several ``frames`` the points are theirs one after the other, as many of each, and those of one do not see
    those of another.
    """

    def __init__(self, features: Tensor, frames: int = 1) -> None:
        self._dimensions = features.shape[1]
        self._lift = _lift(self._dimensions, features)
        lifted = features @ self._lift
        self._lowest, self._radix, self._span = _numbering(lifted, frames)
        each = len(features) // frames
        frame = torch.arange(frames, device=lifted.device).repeat_interleave(each) if frames > 1 else 0
        keys, weights = self._simplices(lifted, frame)
        ordered, order = torch.sort(keys.reshape(-1), stable=True)
        begins = torch.ones_like(ordered, dtype=torch.bool)
        torch.ne(ordered[1:], ordered[:-1], out=begins[1:])
        first = torch.nonzero(begins)[:, 0]
        self._known = touched = ordered[first]
        if each <= SPARSE_BELOW:
            self._known = torch.unique(torch.cat([touched] + [touched + step for step in _steps(self._radix)]))
        home = torch.searchsorted(self._known, touched)
        index = torch.empty_like(order).scatter_(0, order, home[torch.cumsum(begins, dim=0) - 1])
        self._own = (index.reshape(keys.shape), weights)
        self._spread = (order // keys.shape[1], weights.reshape(-1)[order])
        pairs = torch.diff(first, append=first.new_tensor([len(ordered)]))
        counts = torch.zeros_like(self._known).index_copy_(0, home, pairs)
        self._offsets = torch.cumsum(counts, dim=0) - counts
        self._blurs = _blurs(self._known, self._radix)

    @property
    def vertices(self) -> int:
        """How many lattice vertices the points touch."""
        return len(self._known)

    def filter(self, values: Tensor) -> Tensor:
        """Return (N, C): for each point the sum of all ``values`` (N, C), weighted by a Gaussian of the distance."""
        return _gather(self.blurred(values), self._own)

    def blurred(self, values: Tensor) -> Tensor:
        """Splat (N, C) ``values`` and blur: (M, C), one row a vertex."""
        point, share = self._spread
        lattice = nn_functional.embedding_bag(
            point, values, self._offsets, mode="sum", per_sample_weights=share.to(values.dtype)
        )
        for blur in self._blurs:
            lattice = _gather(lattice, blur)
        return lattice

    def places(self, features: Tensor, frame: Tensor | int = 0) -> tuple[Tensor, Tensor]:
        """Where other points (N', d) of frames (N',) lie: rows of their vertices (N', d+1) and shares.

        Absent vertices have share 0.
        """
        keys, weights = self._simplices(features @ self._lift, frame)
        rows = torch.searchsorted(self._known, keys).clamp_(max=self.vertices - 1)
        return rows, torch.where(self._known[rows] == keys, weights, 0.0)

    def sliced(self, blurred: Tensor, places: tuple[Tensor, Tensor]) -> Tensor:
        """Return (N', C) at ``places`` of what ``blurred`` gave."""
        return _gather(blurred, places)

    def _simplices(self, lifted: Tensor, frame: Tensor | int) -> tuple[Tensor, Tensor]:
        """Return keys (N, d+1) and barycentric weights (N, d+1) of the vertices of each point's simplex.

        Vertex k of a simplex lies at base·(d + 1) − k, with d + 1 more on the k axes of the largest remainders.
        """
        corners = self._dimensions + 1
        base, rank = _nearest_simplex(lifted)
        rest = lifted - base * corners
        by_rank = torch.zeros_like(rest).scatter_(1, rank, rest)  # the largest remainder first
        inner = (by_rank[:, :-1] - by_rank[:, 1:]) / corners
        weights = torch.cat([1 - inner.sum(dim=1, keepdim=True), inner], dim=1)
        origin = ((base.long() * corners)[:, :-1] - self._lowest) @ self._radix + frame * self._span
        step = torch.cat([self._radix, self._radix.new_zeros(1)]).expand_as(rank)  # the last axis follows from others
        raised = torch.zeros_like(rank).scatter_(1, rank, step).cumsum(dim=1) * corners
        keys = origin[:, None] - torch.arange(corners, device=rank.device) * self._radix.sum()
        keys[:, 1:] += raised[:, :-1]
        return keys, weights


def _gather(table: Tensor, places: tuple[Tensor, Tensor]) -> Tensor:
    rows, shares = places
    return nn_functional.embedding_bag(rows, table, mode="sum", per_sample_weights=shares.to(table.dtype))


def _lift(d: int, like: Tensor) -> Tensor:
    """(d, d+1): orthogonal rows that span Σx = 0, of the length for which splat, blur and slice add up to variance 1.

    Blurring by 1-2-1 along all directions has variance (d+1)²/2, splat and slice (d+1)²/12 each.
    """
    rows = torch.zeros(d, d + 1, dtype=torch.float64)
    for k in range(1, d + 1):
        rows[k - 1, :k] = 1
        rows[k - 1, k] = -k
    rows /= rows.norm(dim=1, keepdim=True)
    scaled: Tensor = rows * ((d + 1) * math.sqrt(2 / 3))
    return scaled.to(like)


def _numbering(lifted: Tensor, frames: int) -> tuple[Tensor, Tensor, int]:
    """Return the lowest coordinate of each axis, the step of a key along it, and the step from frame to frame.

    The margin holds all neighbours.
    """
    corners = lifted.shape[1]
    lowest = lifted[:, :-1].amin(dim=0).floor().long() - 3 * corners
    extent = lifted[:, :-1].amax(dim=0).ceil().long() + 3 * corners - lowest
    if float(extent.double().prod()) * frames >= 2**62:
        raise ValueError("the features span too many lattice cells to be numbered; divide them by wider sigmas")
    radix = torch.cumprod(torch.cat([extent.new_ones(1), extent[:-1]]), dim=0)
    return lowest, radix, int(extent.prod())


def _nearest_simplex(lifted: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each point the lattice point of remainder 0 (divided by d+1) and the rank of each axis' remainder."""
    corners = lifted.shape[1]
    base = torch.round(lifted / corners)
    rest = lifted - base * corners
    columns = rest.T.contiguous()  # comparing whole rows of memory is much faster than strided columns
    ranks = torch.zeros_like(columns, dtype=torch.uint8)  # how many are larger; the earlier axis wins a tie
    for first in range(corners):
        for second in range(first + 1, corners):
            larger = columns[first] >= columns[second]
            ranks[second] += larger
            ranks[first] += ~larger
    rank = ranks.T.long()
    rank += base.sum(dim=1, keepdim=True).long()  # rounding left the hyperplane by this many steps: walk back
    wrapped = (rank < 0).long() - (rank >= corners).long()
    return base + wrapped, rank + wrapped * corners


def _steps(radix: Tensor) -> list[Tensor]:
    """Return what a step forth and a step back along each lattice direction adds to a key."""
    corners, steps = len(radix) + 1, []
    for axis in range(corners):
        step = torch.ones_like(radix)
        if axis < corners - 1:
            step[axis] -= corners
        steps += [(step * radix).sum(), -(step * radix).sum()]
    return steps


def _blurs(known: Tensor, radix: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each lattice direction: every vertex with its two neighbours, (M, 3) rows, and their shares 1/2, 1/4, 1/4.

    An absent neighbour has share 0.
    """
    itself = torch.arange(len(known), device=known.device)
    blurs = []
    for step in _steps(radix)[::2]:
        wanted = known + step
        forth = torch.searchsorted(known, wanted).clamp_(max=len(known) - 1)
        exists = known[forth] == wanted
        back = torch.zeros_like(itself)
        share_back = torch.zeros(len(known), device=known.device)
        back[forth[exists]] = itself[exists]  # who has me as a neighbour forth is my neighbour back
        share_back[forth[exists]] = 0.25
        share_forth = torch.where(exists, 0.25, 0.0)
        shares = torch.stack([torch.full_like(share_back, 0.5), share_forth, share_back], dim=1)
        blurs.append((torch.stack([itself, forth, back], dim=1), shares))
    return blurs
