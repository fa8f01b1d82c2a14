"""Which mask belongs to which picture, by their names: equal, equal but for a beginning or ending, or by number."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import permutations
from typing import NamedTuple

NAMES, NUMBER, IDENTIFIER = "names", "number", "identifier"
MOST_NUMBERS = 4  # in a name, of which other orders are tried


class Match(NamedTuple):
    """Masks of pictures, by key, and the rule that found them: "paired by their …"."""

    rule: str
    pairs: Mapping[str, str]


def match_keys(images: Collection[str], masks: Collection[str]) -> Match:
    """Pair the keys of pictures with those of masks by the first rule that leaves out none of either, else by the rule
    that pairs most. Numbers that could be meant in another order, or that words contradict, pair nothing: words do."""
    rules = (
        (NAMES, as_they_are),
        (NAMES, without_affixes),
        (NUMBER, by_numbers),
        (IDENTIFIER, by_words),
        (IDENTIFIER, by_words_in_any_order),
    )
    best = Match(NAMES, {})
    for rule, identify in rules:
        of_images, of_masks = identify(images), identify(masks)
        if identify is without_affixes and all(core.isdecimal() for core in of_images.values()):
            rule = NUMBER
        found = Match(rule, join(of_images, of_masks))
        if identify is by_numbers and is_ambiguous(found, of_images, of_masks):
            continue
        if len(found.pairs) == len(images) == len(masks):
            return found
        best = max(best, found, key=lambda match: len(match.pairs))
    return best


def is_ambiguous(found: Match, images: Mapping[str, str], masks: Mapping[str, str]) -> bool:
    """Whether pictures and masks that are paired by their numbers could be paired in another way: by words, or with the
    numbers in another order (`scan1_slice2` and `2_1`)."""
    by_word = join(by_words_in_any_order(images), by_words_in_any_order(masks))
    if len(by_word) >= len(found.pairs) and by_word != found.pairs:
        return True
    numbers = {key: identity.split() for key, identity in images.items()}
    several = len({*map(len, numbers.values())}) == 1 and 1 < len(next(iter(numbers.values()))) <= MOST_NUMBERS
    orders = permutations(range(len(next(iter(numbers.values()))))) if several else ()
    shuffled = ({key: " ".join(row[at] for at in order) for key, row in numbers.items()} for order in orders)
    return sum(len(join(identities, masks)) >= len(found.pairs) > 0 for identities in shuffled) > 1


def join(images: Mapping[str, str], masks: Mapping[str, str]) -> dict[str, str]:
    """The mask's key for each picture's key of the same identity; each from key to identity."""
    by_identity = {identity: key for key, identity in masks.items()}
    return {key: by_identity[identity] for key, identity in images.items() if identity in by_identity}


def as_they_are(keys: Collection[str]) -> dict[str, str]:
    return {key: key for key in keys}


def without_affixes(keys: Collection[str]) -> dict[str, str]:
    """Keys without the beginning and the ending that all have in common."""
    start = count_shared(keys)
    rest = [key[start:] for key in keys]
    end = count_shared([key[::-1] for key in rest])
    return dict(zip(keys, (key[: len(key) - end] for key in rest), strict=True))


def count_shared(texts: Collection[str]) -> int:
    """How many first letters all texts share."""
    one, other = min(texts, default=""), max(texts, default="")
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def by_numbers(keys: Collection[str]) -> dict[str, str]:
    """The numbers in a key that differ between keys, if they tell all keys apart; else nothing."""
    found = [[str(int(number)) for number in re.findall(r"[0-9]{1,40}", key)] for key in keys]
    if all(found) and len({*map(len, found)}) == 1:
        columns = list(dict.fromkeys(column for column in zip(*found, strict=True) if len({*column}) > 1))
        found = [list(row) for row in zip(*columns, strict=True)]
    return unique(keys, found)


def by_words(keys: Collection[str]) -> dict[str, str]:
    """The words of a key (between signs) that not all keys have, if they tell all keys apart; else nothing."""
    return unique(keys, telling_words(keys))


def by_words_in_any_order(keys: Collection[str]) -> dict[str, str]:
    """The same for names such as `plate1_well2` and `well2_plate1_seg`."""
    return unique(keys, [sorted(row) for row in telling_words(keys)])


def telling_words(keys: Collection[str]) -> list[list[str]]:
    words = [list(dict.fromkeys(re.findall(r"[^\W_]+", key.casefold()))) for key in keys]
    counts = Counter(word for row in words for word in row)
    return [[word for word in row if counts[word] < len(words)] for row in words]


def unique(keys: Collection[str], found: list[list[str]]) -> dict[str, str]:
    told = [" ".join(row) for row in found]
    return dict(zip(keys, told, strict=True)) if len({*told}) == len(told) == len(keys) and all(told) else {}
