"""Which pictures belong together, by their names."""

import re
from collections.abc import Sequence

LONGEST = 512  # letters of a path that is searched, as the pattern may come from an untrusted file


def groups_of(names: Sequence[str], pattern: str | None) -> list[str]:
    """The group of each picture (its photograph, patient, video, site): what a regular expression matches in the path
    below the root, or its first capture group if it has one. Empty without a pattern.

    Raises ValueError for an invalid pattern, and for a picture whose path it does not match.
    """
    if pattern is None:
        return []
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"dataset.group={pattern}: not a regular expression ({error}).") from None
    if long := [name for name in names if len(name) > LONGEST]:
        raise ValueError(
            f"{long[0][:80]}… has more than {LONGEST} letters, too many to search for dataset.group. Give its folders "
            "shorter names."
        )
    found = [(name, compiled.search(name)) for name in names]
    missed = [name for name, match in found if not (match and match[min(compiled.groups, 1)])]
    if missed:
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        raise ValueError(
            f"dataset.group={pattern} finds no group in {missed[0]}{more}; expected a regular expression whose first "
            "(…) is the photograph, patient or video in the path of every picture below dataset.root.\n"
            "Change the pattern or rename the files; dataset.group=null treats every picture as independent."
        )
    return [match[min(compiled.groups, 1)] for _, match in found if match]
