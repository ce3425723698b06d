"""Several processes as one: each computes its part of the batch, gradients are averaged, everything else is the same.

Started by ``torchrun``, which tells each process its number; nccl joins GPUs, gloo CPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """Which process this is, and of how many."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Return whether this process writes files and shows progress."""
        return self.rank == 0

    def part(self, size: int) -> range:
        """Return this process's part of ``size`` items; all parts are equal."""
        if size % self.world:
            raise ValueError(
                f"loop.batch_size = {size} cannot be shared by {self.world} processes; take a multiple of {self.world}"
            )
        share = size // self.world
        return range(self.rank * share, (self.rank + 1) * share)


def ranks() -> Ranks:
    """Return this process's place among those that were joined."""
    if distributed.is_available() and distributed.is_initialized():
        return Ranks(distributed.get_rank(), distributed.get_world_size())
    return Ranks()


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that ``torchrun`` started, and yield this one's device; alone, nothing happens."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield device
        return
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def share_weights(model: nn.Module) -> None:
    """Give every process the first one's weights and buffers."""
    if ranks().world > 1:
        for tensor in (*model.parameters(), *model.buffers()):
            distributed.broadcast(tensor.data, src=0)


def average_gradients(model: nn.Module) -> None:
    """Replace every gradient by its mean over the processes; one that some of them lack counts as zero there."""
    world = ranks().world
    if world == 1:
        return
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    present = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    distributed.all_reduce(present)
    parameters = [parameter for parameter, count in zip(parameters, present.tolist(), strict=True) if count]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= world
    pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)


def average_buffers(model: nn.Module) -> None:
    """Average running statistics, where each process normalises its own part."""
    world = ranks().world
    for buffer in model.buffers() if world > 1 else ():
        if buffer.is_floating_point():
            distributed.all_reduce(buffer)
            buffer /= world


def mean_values(parts: Mapping[str, Tensor]) -> dict[str, float]:
    """Return named scalars as their means over the processes."""
    values = torch.stack([value.detach().float() for value in parts.values()])
    world = ranks().world
    if world > 1:
        distributed.all_reduce(values)
        values = values / world
    return dict(zip(parts, values.tolist(), strict=True))


def wait_for_all() -> None:
    """Return when every process is here."""
    if ranks().world > 1:
        distributed.barrier()


def gather(items: Iterable[Item]) -> list[Item]:
    """Return the items of all processes, in the order of their numbers."""
    own = list(items)
    world = ranks().world
    if world == 1:
        return own
    found: list[list[Item]] = [[] for _ in range(world)]
    distributed.all_gather_object(found, own)
    return [item for part in found for item in part]
