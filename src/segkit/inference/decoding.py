"""Picture files, decoded on several threads in groups that fit into memory."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from segkit import hardware
from segkit.configs.inputs import Input
from segkit.datasets.findings import gather_findings
from segkit.datasets.reading import picture_size, read_picture
from segkit.datasets.scan import capture_complaints, read_whole
from segkit.inference.pipeline import AT_ONCE, VALUES, Item, Room

MOST_READERS = 4


def read_groups(inputs: Iterable[Input], channels: int, room: Room) -> Iterator[list[Item]]:
    """Groups of the pictures of inputs; one that cannot be read has its error. channels: of what is predicted."""
    with ThreadPoolExecutor(min(MOST_READERS, hardware.cores()), thread_name_prefix="decode") as pool:
        for group in group_by_size(inputs, channels):
            room.enter(sum(item.size for item in group))
            with capture_complaints() as complaints:
                list(pool.map(read, group))
            if complaints and complaints[0]:  # about some of them
                for item in group:
                    read(item, alone=True)
            yield group


def group_by_size(inputs: Iterable[Input], channels: int) -> Iterator[list[Item]]:
    group = list[Item]()
    for one in inputs:
        item = Item(one, size=max(channels, 3) * count_pixels(Path(one.source)))
        if group and (len(group) == AT_ONCE or sum(each.size for each in group) + item.size > VALUES):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def count_pixels(path: Path) -> int:
    """From a picture's header; 0 if it cannot be read, which reading will explain."""
    try:
        height, width = picture_size(path)
    except ValueError:
        return 0
    return height * width


def read(item: Item, alone: bool = False) -> None:
    """Fill in a picture, or its error. alone: no other is being decoded, so that a decoder's complaint is about it."""
    started = time.perf_counter()
    try:
        with gather_findings():
            item.image = (read_whole if alone else read_picture)(Path(item.key.source))
    except Exception as error:  # whatever is wrong with one picture, the others are done
        item.image, item.error = None, error
    item.seconds += time.perf_counter() - started
