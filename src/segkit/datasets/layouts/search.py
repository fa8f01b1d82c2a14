"""Which place holds the pictures and which their masks: what fits, judged by names, and what must be asked."""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from pathlib import PurePosixPath
from typing import NamedTuple

from segkit.configs.composing import format_argument
from segkit.console import one_line
from segkit.datasets.layouts.families import split_folders, split_place
from segkit.datasets.layouts.folder_names import words_in
from segkit.datasets.layouts.matching import Match, match_keys
from segkit.datasets.layouts.places import SPLIT, UNNAMED, Place, name_split

MOST = 24  # places that are compared, those of most files first
SHARE = 0.5  # of the pictures must have a mask, or the two places have nothing to do with each other
UNSAID = re.compile(r"\*|\{split\}|\$\{")  # in a folder's own name, where a setting means something else by it
SPLITS = ("train", "val", "test")


class Reading(NamedTuple):
    """Pictures in one place with masks in another. matches: the masks' keys of each split's pictures."""

    images: Place
    masks: Place
    matches: Mapping[str, Match]

    @property
    def matched(self) -> int:
        return sum(len(match.pairs) for match in self.matches.values())

    @property
    def is_complete(self) -> bool:
        """Whether every picture has a mask, and every mask a picture."""
        return self.matched == self.images.size == self.masks.size

    @property
    def missing(self) -> list[str]:
        """The splits with pictures of which none has a mask."""
        return [split for split, match in self.matches.items() if not match.pairs]

    @property
    def own_masks(self) -> list[str]:
        """The paths of pictures that are their own masks."""
        return [
            self.images.files[split][key]
            for split, match in self.matches.items()
            for key, other in match.pairs.items()
            if self.images.files[split][key] == mask_of(self, split, other)
        ]

    def of(self, splits: Collection[str]) -> "Reading":
        """The same of these splits alone."""
        files = {split: keys for split, keys in self.images.files.items() if split in splits}
        matches = {split: match for split, match in self.matches.items() if split in splits}
        return Reading(self.images._replace(files=files), self.masks, matches)

    def without_unmasked(self) -> "Reading":
        """The same without pictures that have no mask, and without splits in which none has one."""
        kept = {split: match for split, match in self.matches.items() if match.pairs}
        files = {split: {key: self.images.files[split][key] for key in match.pairs} for split, match in kept.items()}
        return Reading(self.images._replace(files=files), self.masks, kept)

    @property
    def doubt(self) -> int:
        """0 if both places say by their names what they are; more for less certain ones."""
        roles = (self.images.role, self.masks.role)
        return {("pictures", "masks"): 0, ("", "masks"): 1, ("pictures", ""): 2}.get(roles, 3)


def pair_places(images: Place, masks: Place) -> Reading:
    """Pair the files of two places, within splits unless the masks' place has none."""
    if "" in images.files or "" not in masks.files:
        found = {split: match_keys([*keys], [*masks.files.get(split, {})]) for split, keys in images.files.items()}
        return Reading(images, masks, found)
    every = [key for keys in images.files.values() for key in keys]
    whole = match_keys(every, [*masks.files[""]]) if len({*every}) == len(every) else Match("names", {})
    pairs = {
        split: {key: whole.pairs[key] for key in keys if key in whole.pairs} for split, keys in images.files.items()
    }
    return Reading(images, masks, {split: Match(whole.rule, found) for split, found in pairs.items()})


def find_readings(images: Sequence[Place], masks: Sequence[Place], guess: bool = False) -> list[Reading]:
    """The ways to read pictures with masks in which at least half of the pictures (those of train, if there are splits)
    have one; the least doubtful first. guess: also of two places whose names do not say what they are."""
    found = []
    for one, other in product(images[:MOST], masks[:MOST]):
        roles = one.role in ("pictures", "") and other.role in ("masks", "") and (guess or one.role or other.role)
        if roles and (one.folder, one.names) != (other.folder, other.names):
            reading = pair_places(one, other)
            first = next(split for split in ("", *SPLITS) if split in one.files)
            if len(reading.matches[first].pairs) >= SHARE * len(one.files[first]):
                found.append(reading)
    return sorted(found, key=lambda reading: (reading.doubt, -reading.matched))


def search(images: Sequence[Place], masks: Sequence[Place]) -> list[Reading]:
    """`find_readings` of whole places; if none fits, of the families of files in them (see `split_place`); if still
    none does, of folders whose names say nothing."""
    found = find_readings(images, masks)
    if found := [one for one in found if one.is_complete or one.images.folder != one.masks.folder]:
        return found
    parts = {id(place): split_place(place) or [place] for place in (*images, *masks)}
    one, other = ([part for place in places for part in parts[id(place)]] for places in (images, masks))
    if found := find_readings(one, other):
        return found
    folders = {id(place): split_folders(place) or [place] for place in (*images, *masks)}
    one, other = ([part for place in places for part in folders[id(place)]] for places in (images, masks))
    return [reading for reading in find_readings(one, other, guess=True) if reading.is_complete]


def is_field_of_view(place: Place, beside: Place) -> bool:
    """Whether masks are most likely those of the field of view: a folder `fov`, or one called `mask` beside one of
    manual masks, as retinal data sets have it."""
    words, others = ({word.text.casefold() for word in words_in(last_name(one))} for one in (place, beside))
    return place.role == "field" or (words in ({"mask"}, {"masks"}) and not others.isdisjoint({"manual", "manuals"}))


def drop_fields_of_view(found: Sequence[Reading]) -> list[Reading]:
    """The readings without those whose masks are fields of view."""
    return [one for one in found if not any(is_field_of_view(one.masks, other.masks) for other in found)]


def find_field_of_view(reading: Reading, places: Sequence[Place]) -> str:
    """The folder of masks of the field of view of all pictures, or "" if there is none."""
    for place in places:
        if is_field_of_view(place, reading.masks):
            parts = [place, *(of_split(place, split) for split in place.files if split)]
            for part in parts:
                matches = pair_places(reading.images, part).matches
                if all(len(match.pairs) == len(reading.images.files[split]) for split, match in matches.items()):
                    return part.folder
    return ""


def of_split(place: Place, split: str) -> Place:
    """The files of one split as a place without splits."""
    return place._replace(folder=name_split(place, split), files={"": place.files[split]})


def last_name(place: Place) -> str:
    return place.folder.rpartition("/")[2]


def describe_reading(reading: Reading) -> str:
    """How pictures and masks are read: "17 pictures in images with masks in masks, paired by their names"."""
    images, masks = describe_place(reading.images), describe_place(reading.masks)
    counts = count_files({split: len(reading.images.files[split]) for split in reading.matches})
    where = "beside them" if masks == images else f"in {masks}"
    return f"{counts} in {images} with masks {where}, {describe_rule(reading)}"


def count_files(counts: Mapping[str, int], kind: str = "pictures") -> str:
    """`20 train and 20 test pictures`, or `17 pictures`."""
    told = [f"{counts[split]} {split}" for split in SPLITS if split in counts] or [str(counts.get("", 0))]
    return " and ".join(filter(None, [", ".join(told[:-1]), told[-1]])) + f" {kind}"


def describe_place(place: Place) -> str:
    """A place's folders as they are called: `{training,test}/images`."""
    called = [name_split(place, split) for split in SPLITS if split in place.files]
    if "*" in place.folder or not called:
        return one_line(place.folder or place.base.name or str(place.base))
    before, found, after = place.folder.partition(SPLIT)
    if len(called) == 1 or not found or SPLIT in after:
        return one_line(called[0] if len(called) == 1 else place.folder)
    return one_line(f"{before}{{{','.join(name[len(before) : len(name) - len(after)] for name in called)}}}{after}")


def describe_rule(reading: Reading) -> str:
    """By which rule masks were found, with an example where names differ."""
    rules = dict.fromkeys(match.rule for match in reading.matches.values() if match.pairs)
    text = f"paired by their {' and '.join(rules) or 'names'}"
    for split, match in reading.matches.items():
        for key, other in match.pairs.items():
            image = PurePosixPath(reading.images.files[split][key])
            mask = PurePosixPath(mask_of(reading, split, other))
            return text if image.stem == mask.stem else f"{text} ({one_line(f'{mask.name} for {image.name}')})"
    return text


def mask_of(reading: Reading, split: str, key: str) -> str:
    files = reading.masks.files
    return files[split][key] if split in files else files[""][key]


def settings_of(reading: Reading, split: str = "") -> str:
    """The settings that say how to read, as they can be typed; with `split`, of that split's folders alone. "" if no
    settings can say it."""
    one, other = reading.images, reading.masks
    called = [name_split(place, found) for place in (one, other) for found in place.files]
    words = [*called, one.names, other.names]
    if UNNAMED in words or any(map(UNSAID.search, called)) or any(one_line(word) != word for word in words):
        return ""
    folders = [name_split(place, split) if split and split in place.files else place.folder for place in (one, other)]
    said = {"dataset.images": folders[0] or ".", "dataset.masks": folders[1] or "."} if any(folders) else {}
    said |= {"dataset.image_pattern": one.names, "dataset.mask_pattern": other.names}
    return " ".join(format_argument(key, value) for key, value in said.items() if value)
