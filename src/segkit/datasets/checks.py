"""All that is checked of a data set before a training, by `train` and by `check`."""

import logging
from typing import Any

import torch

from segkit import IGNORE_INDEX
from segkit.datasets.common import check_disjoint, split_over
from segkit.datasets.findings import DataError, Findings, gathered, tell
from segkit.datasets.module import DataModule
from segkit.datasets.scan import heard, read_all
from segkit.datasets.source import Source, extras_of
from segkit.geometry.windows import five_cover

log = logging.getLogger("segkit")


def check_meaning(data: DataModule) -> None:
    """What some masks and the names tell before all files are read: whether anything can be learnt."""
    with heard():  # of damaged files, which `check_data` names
        check_masks(data.sources["train"])
        alike = {split: all_alike(data.sources[split]) for split in ("val", "test")}
    for split, kind in alike.items():
        source = data.sources[split]
        if kind is not None:
            log.warning(
                "the %s masks are all %s: their scores say nothing of how well %s is found",
                split,
                kind,
                source.classes[0],
            )
    if shared := split_over(data.sources):
        log.warning("%s.", shared)


def check_data(data: DataModule, thorough: bool = False) -> None:
    """Read the files of all splits, once, into the cache where there is one; raise what is wrong with any in one list.

    Without a cache the training pictures are not read here, unless something is wrong with the others or `thorough`
    asks for it: they may be many, and training reads them anyway.
    """
    with gathered() as found:
        files = {split: extras_of(source).files for split, source in data.sources.items()}
        if all(files.values()) and len(files) == 3:
            check_disjoint(**files)
        for split in ("val", "test", "train"):  # a damaged file of the first two would be found when training is over
            if split in data.sources:
                _read(data, split, thorough, found)
        if not found.faults:
            check_cover(data)


def _read(data: DataModule, split: str, thorough: bool, found: Findings) -> None:
    """Decode a split's files; and where that does not show it, see that samples can be made of them."""
    source = data.sources[split]
    try:
        decoded = data.decoded(split)
        if split == "train" and not (thorough or found.faults):
            return
        if decoded is not source and split == "train":
            return
        prepared: Any = data.train_dataloader().dataset if split == "train" else data.eval_dataloader(split).dataset
        read_all(lambda index: prepared[(0, index, True)], source)
    except DataError as error:
        tell(*error.findings)


def check_masks(source: Source, most: int = 64) -> None:
    """Of one class, masks must show it and something else. Masks of 0 and 255 are binary; with several classes they
    would be read as class 0 and ignored pixels."""
    if (kind := all_alike(source)) is not None:
        name, files = source.classes[0], extras_of(source).files
        first = f" (the first is {files[0][1]})" if files else ""
        raise ValueError(
            f"the {len(source)} training masks are all {kind}, so {name} cannot be learnt; expected pixels of {name} "
            f"and others. Look at the mask files{first}: what lies above dataset.threshold is {name}. If their values "
            "are indices or colours of several classes, name those in dataset.classes."
        )
    if len(source.classes) == 1:
        return
    seen: set[int] = set()
    for index in range(0, len(source), max(len(source) // most, 1)):
        seen |= values_of(source, index)
        if len(seen - {IGNORE_INDEX}) > 1:
            return
    if seen == {0, IGNORE_INDEX}:
        raise ValueError(
            f"dataset.classes={list(source.classes)}, but the training masks show only {source.classes[0]} and 255, "
            "which is ignored. Of black and white masks name one class: dataset.classes=[object]."
        )


def all_alike(source: Source) -> str | None:
    """How the masks of one class are where none shows anything else, "empty" or "full"; else None. As a rule the first
    few tell."""
    seen: set[int] = set()
    for index in range(len(source) if len(source.classes) == 1 else 0):
        seen |= values_of(source, index) - {IGNORE_INDEX}
        if len(seen) > 1:
            break
    return {frozenset({0}): "empty", frozenset({1}): "full"}.get(frozenset(seen))


def values_of(source: Source, index: int) -> set[int]:
    """The values of a mask; none where it cannot be read, which `check_data` tells."""
    try:
        return set(torch.unique(source[index]["mask"]).tolist())
    except DataError:
        return set()


def check_cover(data: DataModule) -> None:
    """Say it where five crops leave a part of the pictures unscored."""
    if data.eval_mode != "five":
        return
    shapes = [source.shape(index) for source in data.sources.values() for index in range(len(source))]
    beyond = [shape for shape in shapes if not five_cover(shape, data.size)]
    if beyond:
        log.warning(
            "dataset.crops=five: %d of %d pictures are more than twice as large as a crop (one is %d×%d), and what "
            "lies between the crops is neither learnt nor scored. dataset.crops=grid covers everything.",
            len(beyond),
            len(shapes),
            *beyond[0],
        )
