"""Which pictures belong together: the setting `dataset.groups`, and the messages when it does not fit."""

import re
from collections.abc import Sequence

from segkit.configs.composing import format_argument
from segkit.datasets.numbering import LONGEST, find_groups, propose_groups

EXPECTED = (
    "a regular expression whose first (…) is the photograph, patient or video in the path of every picture below "
    "dataset.root, or a level of folders, such as folder:1"
)


def groups_of(names: Sequence[str], setting: str | None, key: str = "dataset.groups") -> list[str]:
    """The group of each picture (its photograph, patient, video, site), as `find_groups` finds it in the path below the
    root; empty without a setting.

    Raises ValueError, with `key` and what to type, for an invalid pattern and for a picture without a group.
    """
    if setting is None:
        return []
    if long := [name for name in names if len(name) > LONGEST]:
        raise ValueError(
            f"{long[0][:80]}… has more than {LONGEST} letters, too many to search for {key}. Give its folders "
            "shorter names."
        )
    try:
        found = find_groups(names, setting)
    except re.error as error:
        raise ValueError(f"{key}={setting}: not a regular expression ({error}).") from None
    if missed := [name for name, group in zip(names, found, strict=True) if not group]:
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        raise ValueError(
            f"{key}={setting} finds no group in {missed[0]}{more} of {len(names)} pictures; expected {EXPECTED}.\n"
            f"{suggest_groups(names, key)}"
        )
    return found


def check_several(names: Sequence[str], groups: Sequence[str], setting: str | None) -> None:
    """ValueError if all pictures are in a single group, so that nothing can be split."""
    if setting is not None and len(names) > 1 and len({*groups}) == 1:
        raise ValueError(
            f"dataset.groups={setting} finds one group, {groups[0]}, in all {len(names)} pictures, such as {names[0]}; "
            f"expected several, to be split: {EXPECTED}.\n{suggest_groups(names)}"
        )


def describe_useless_groups(names: Sequence[str], groups: Sequence[str], setting: str | None) -> str:
    """A warning if a setting makes one group of all pictures, or one of each, or "". A pattern that finds whole file
    names says on purpose that pictures are independent."""
    count = len({*groups})
    if setting is None or len(names) < 2 or 1 < count < len(names):
        return ""
    if count == 1:
        found = f"one group, {groups[0]}, in all {len(names)} pictures, so nothing can be said about others"
    elif all(name.rpartition("/")[2] == group for name, group in zip(names, groups, strict=True)):
        return ""
    else:
        found = f"a group of its own in each of {len(names)} pictures, such as {groups[0]}, so it keeps none together"
    return f"dataset.groups={setting} finds {found}. {suggest_groups(names)}"


def suggest_groups(names: Sequence[str], key: str = "dataset.groups") -> str:
    """What to type instead of a setting that does not fit."""
    found, independent = propose_groups(names), f"{key}=null treats every picture as independent"
    if found is None:
        return f"Change the pattern or rename the files; {independent}."
    return f"The names suggest {found.counts}: type {format_argument(key, found.setting)}. Or {independent}."
