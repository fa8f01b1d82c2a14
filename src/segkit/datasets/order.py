"""Which samples make up which batch, and which process gets it."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import distributed as dist

MOST_PIXELS = 2**22  # of a batch of whole pictures, in validation and test
Key = tuple[int, int, bool]  # (epoch, index, counted): a sample, and whether it counts or only pads


def _process() -> tuple[int, int]:
    """(rank, world size) of this process."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class ShuffledBatches:
    """Batches in a random order that depends on (seed, epoch) alone, so that a resumed run sees the same ones.

    An epoch is so many `passes`, each over all samples in an order of its own; their keys count passes as epochs, so
    that each augments anew. The last incomplete batch is dropped, unless it is the only one: batch norm over a few
    samples is noise.
    """

    def __init__(self, length: int, batch_size: int, seed: int, passes: int = 1) -> None:
        self.length, self.batch_size, self.seed, self.passes, self.epoch = length, batch_size, seed, passes, 0
        self.sampler = self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return max(self.length * self.passes // _process()[1] // self.batch_size, 1)

    def __iter__(self) -> Iterator[list[Key]]:
        rank, world = _process()
        order = [key for at in range(self.passes) for key in self._pass(self.epoch * self.passes + at)]
        mine = order[rank : len(order) // world * world : world]
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield mine[start : start + self.batch_size]

    def _pass(self, number: int) -> list[Key]:
        order = np.random.default_rng([self.seed, number]).permutation(self.length)
        return [(number, index, True) for index in order.tolist()]


class OrderedBatches:
    """Samples in order, each once, in batches of equal shape, dealt out to the processes batch by batch.

    Where they do not divide evenly, copies of the last batch pad them, marked as not counted.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], batch_size: int, taken: Sequence[int] | None = None) -> None:
        """shapes: of all samples. taken: the positions of those that are given; None for all. batch_size: at most, and
        of large pictures fewer, so that a batch has about MOST_PIXELS."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index in range(len(shapes)) if taken is None else taken:
            groups.setdefault(shapes[index], []).append(index)
        self.batches = list[list[int]]()
        for (height, width), group in groups.items():
            most = max(min(batch_size, MOST_PIXELS // (height * width)), 1)
            self.batches += [group[start : start + most] for start in range(0, len(group), most)]

    def __len__(self) -> int:
        return -(-len(self.batches) // _process()[1])

    def __iter__(self) -> Iterator[list[Key]]:
        rank, world = _process()
        for number in range(rank, len(self) * world, world):
            counted = number < len(self.batches)
            yield [(0, index, counted) for index in self.batches[number if counted else -1]]
