"""The checks of a data set before training, by `train` and by `check`."""

import logging
from collections.abc import Callable
from typing import Any

import torch

from segkit import IGNORE_INDEX
from segkit.datasets.common import check_disjoint, describe_shared_groups
from segkit.datasets.findings import DataError, Findings, gather_findings, report_faults
from segkit.datasets.grouping import describe_useless_groups
from segkit.datasets.meaning import MaskMeaning, describe_masks
from segkit.datasets.module import DataModule
from segkit.datasets.remedies import settings_for_values
from segkit.datasets.scan import capture_complaints, read_all
from segkit.datasets.source import Source, extras_of
from segkit.geometry.windows import is_covered_by_five

log = logging.getLogger("segkit")

ReadValues = Callable[[Source, int], set[int]]
FEW_MASKS = 16
ABOVE = "values above dataset.threshold are {}; numbers or colours of several classes are named in dataset.classes."


def check_meaning(data: DataModule) -> None:
    """Check, before all files are read, whether a few masks and the names show that anything can be learnt."""
    with capture_complaints():  # about damaged files, which `check_data` names
        check_masks(data.sources["train"])
        meaning = describe_sample(data.sources["train"])
        alike = {split: describe_uniform_masks(data.sources[split]) for split in ("val", "test")}
    if meaning is not None and meaning.misread:
        log.warning("%s %s", meaning.fact, meaning.remedy)
    for split, kind in alike.items():
        source = data.sources[split]
        if kind is not None:
            log.warning(
                "the %s masks are all %s: their scores say nothing about how well %s is found",
                split,
                kind,
                source.classes[0],
            )
    if text := describe_shared_groups(data.sources):
        log.warning("%s.", text)
    if text := describe_groups_setting(data):
        log.warning("%s", text)


def describe_groups_setting(data: DataModule) -> str:
    """A warning if `dataset.groups` makes one group of all pictures, or one of each, or "" (see
    `describe_useless_groups`)."""
    names = [name for source in data.sources.values() for name in source.names]
    groups = [group for source in data.sources.values() for group in extras_of(source).groups]
    if len(groups) < len(names):
        return ""
    return describe_useless_groups(names, groups, (data.settings or {}).get("groups"))


def check_data(data: DataModule) -> None:
    """Read the files of all splits once, into the cache if there is one; raise all faults in one list.

    Without a cache, the training pictures are read here only if the others have faults: they may be many, and training
    reads them anyway.
    """
    with gather_findings() as found:
        files = {split: extras_of(source).files for split, source in data.sources.items()}
        if all(files.values()) and len(files) == 3:
            check_disjoint(**files)
        for split in ("val", "test", "train"):  # the first two would fail only after an epoch, or after the training
            if split in data.sources:
                _read(data, split, found)
        if not found.faults:
            check_cover(data)


def _read(data: DataModule, split: str, found: Findings) -> None:
    """Decode a split's files; where that alone does not show it, check that samples can be made from them."""
    source = data.sources[split]
    try:
        decoded = data.decode(split)
        if split == "train" and not found.faults:
            return
        if decoded is not source and split == "train":
            return
        prepared: Any = data.train_dataloader().dataset if split == "train" else data.eval_dataloader(split).dataset
        read_all(lambda index: prepared[(0, index, True)], source)
    except DataError as error:
        report_faults(*error.findings)


def check_masks(source: Source, most: int = 64, read: ReadValues | None = None) -> None:
    """ValueError unless masks of one class show it and something else; and for masks of 0 and 255 with several classes,
    which would be read as class 0 and ignored pixels. read: as `read_values`."""
    read = read or read_values
    if (kind := describe_uniform_masks(source, read)) is not None:
        name, files, meaning = source.classes[0], extras_of(source).files, describe_sample(source)
        first = f" (the first is {files[0][1]})" if files else ""
        raise ValueError(
            f"the {len(source)} training masks are all {kind}, so {name} cannot be learnt; expected pixels of {name} "
            f"and others.{f' {meaning.sentence}.' if meaning else ''}\n"
            f"{(meaning.remedy if meaning else '') or f'Look at the mask files{first}: {ABOVE.format(name)}'}"
        )
    if len(source.classes) == 1:
        return
    seen: set[int] = set()
    for index in range(0, len(source), max(len(source) // most, 1)):
        seen |= read(source, index)
        if len(seen - {IGNORE_INDEX}) > 1:
            return
    if seen == {0, IGNORE_INDEX}:
        line = settings_for_values([*seen], source.classes)
        raise ValueError(
            f"dataset.classes={list(source.classes)}, but the training masks show only {source.classes[0]} and 255, "
            f"which is ignored. For black and white masks, name one class: {line}."
        )


def describe_sample(source: Source) -> MaskMeaning | None:
    """What a few masks of a data set hold; None if it does not say what their values mean."""
    found = extras_of(source)
    if found.mask_values is None or not found.files:
        return None
    return describe_masks([pair.mask for pair in found.files], found.mask_values, FEW_MASKS)


def describe_uniform_masks(source: Source, read: ReadValues | None = None) -> str | None:
    """How all masks of a single class look: "empty" or "full", else None. Usually the first few masks decide."""
    read, seen = read or read_values, set[int]()
    for index in range(len(source) if len(source.classes) == 1 else 0):
        seen |= read(source, index) - {IGNORE_INDEX}
        if len(seen) > 1:
            break
    return {frozenset({0}): "empty", frozenset({1}): "full"}.get(frozenset(seen))


def read_values(source: Source, index: int) -> set[int]:
    """The values of a mask; none if it cannot be read, which `check_data` reports."""
    try:
        return set(torch.unique(source[index]["mask"]).tolist())
    except DataError:
        return set()


def check_cover(data: DataModule) -> None:
    """Warn if five crops leave part of a picture unscored."""
    if data.eval_mode != "five":
        return
    shapes = [source.shape(index) for source in data.sources.values() for index in range(len(source))]
    beyond = [shape for shape in shapes if not is_covered_by_five(shape, data.size)]
    if beyond:
        log.warning(
            "dataset.crops=five: %d of %d pictures are more than twice as large as a crop (one is %d×%d), and the area "
            "between the crops is neither learnt nor scored. dataset.crops=grid covers everything.",
            len(beyond),
            len(shapes),
            *beyond[0],
        )
