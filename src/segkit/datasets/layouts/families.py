"""Pictures and masks side by side in one folder, told apart by the endings or beginnings of their names."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from segkit.datasets.layouts.folder_names import LETTERS, Role, role_of
from segkit.datasets.layouts.places import LOSSY, UNNAMED, Place, extension, is_pattern, make_place, match_name

MOST = 6  # kinds of files in a place, and endings of a name
LEAST = 0.1  # share of a place's files that have an ending
TAIL = re.compile(r"(?:(?<=[^\W_])|(?<=[)\]]))[ _.\-](?=[^ _.\-]*[^\W\d_])")
LAST_NUMBER = re.compile(r"(?<=[^\W_])[ _.\-][0-9]+$")
FURTHER = re.compile(r"[ _.\-]?\(?[0-9]+\)?")  # what follows the ending of a picture's further masks


def split_place(place: Place) -> list[Place]:
    """The families of files in a place: `a` and `a_mask`, `img_1` and `mask_1`, or, if there are no others, `a.jpg` and
    `a.png`. None if there is one kind only."""
    entries = [
        (split, key, path) for split, keys in all_files(place).items() for key, paths in keys.items() for path in paths
    ]
    keys = {key for _, key, _ in entries}
    marks = mark_roles(keys) or mark_tails(keys)
    by_mark: dict[str, list[tuple[str, str, str]]] = {}
    if marks:
        for split, key, path in entries:
            mark = marks[key]
            by_mark.setdefault(mark, []).append((split, strip_mark(key, mark), path))
    elif place.copies or place.doubles:
        for split, key, path in entries:
            by_mark.setdefault(f"*{extension(path)}", []).append((split, key, path))
    names = {mark: [PurePosixPath(path).name for _, _, path in found] for mark, found in by_mark.items()}
    by_mark.pop("", None)
    if not 2 <= len(by_mark) <= MOST:
        return []
    base: Role = place.role or "pictures"
    return [
        make_place(
            place.base,
            place.folder,
            find_pattern(mark, names),
            role_of_mark(mark, base),
            found,
        )
        for mark, found in sorted(by_mark.items())
    ]


def split_folders(place: Place) -> list[Place]:
    """The folders of a place whose names say nothing, if there are a few, each as a place of its own."""
    by_folder: dict[str, list[tuple[str, str, str]]] = {}
    for split, keys in place.files.items():
        for key, path in keys.items():
            folder, _, rest = key.partition("/")
            by_folder.setdefault(folder if rest else "", []).append((split, rest, path))
    if place.role or "" in by_folder or not 2 <= len(by_folder) <= MOST:
        return []
    above = f"{place.folder}/" if place.folder else ""
    return [make_place(place.base, above + folder, "", "", found) for folder, found in sorted(by_folder.items())]


def all_files(place: Place) -> Mapping[str, Mapping[str, list[str]]]:
    """Every file of a place by split and key, with copies and doubles."""
    more: dict[str, list[str]] = {}
    for first, other in (*place.copies, *place.doubles):
        more.setdefault(first, []).append(other)
    return {
        split: {key: [path, *more.get(path, [])] for key, path in keys.items()} for split, keys in place.files.items()
    }


def role_of_mark(mark: str, base: Role) -> Role:
    if mark == "*":
        return base
    if mark.startswith("*."):
        return "pictures" if mark[1:] in LOSSY else ""
    return role_of(mark)


def strip_mark(key: str, mark: str) -> str:
    """A key without the ending or beginning of its family."""
    head, _, tail = mark.partition("*")
    folder, slash, stem = key.rpartition("/")
    return f"{folder}{slash}{stem[len(head) : len(stem) - len(tail)]}".strip("/")


def mark_roles(keys: Collection[str]) -> dict[str, str]:
    """The family of each key, `*_mask` or `mask_*`, by endings that many have and that either name a role or are what
    another file's name lacks; `*` for the rest, "" for further masks (`a_mask_1`). Empty if no key has such
    an ending."""
    stems = {key: key.rpartition("/")[2] for key in keys}
    tails: Counter[str] = Counter()
    for key, stem in stems.items():
        for tail in tails_of(stem):
            if role_of(tail) or (len(tail) < len(stem) and key[: -len(tail)] in keys):
                tails[tail] += 1
    often = {tail for tail, count in tails.items() if count >= max(2, LEAST * len(keys))}
    marks = {}
    for key, stem in stems.items():
        tail = next((tail for tail in tails_of(stem) if tail in often), "")
        head = LETTERS.match(stem)
        if tail:
            marks[key] = f"*{tail}"
        elif any(is_further(tail, often) for tail in tails_of(stem)):
            marks[key] = ""
        elif head and head.end() < len(stem) and role_of(head[0]) in ("masks", "field", "other"):
            marks[key] = f"{head[0]}*"
        else:
            marks[key] = "*"
    return marks if {*marks.values()} != {"*"} else {}


def is_further(tail: str, often: Collection[str]) -> bool:
    """Whether an ending is a frequent one of masks and a number."""
    return any(
        role_of(one) == "masks" and tail.startswith(one) and FURTHER.fullmatch(tail[len(one) :]) for one in often
    )


def mark_tails(keys: Collection[str]) -> dict[str, str]:
    """The family of each key by its last word, if all keys have one of a few that are equally frequent; or by its last
    number (`a_0000` and `a_0001`), if every name has all of a few; else empty."""
    tails = {key: next(iter(tails_of(key.rpartition("/")[2])), "") for key in keys}
    if not any(tails.values()):
        tails = {key: found[0] if (found := LAST_NUMBER.search(key)) else "" for key in keys}
        if len({key.removesuffix(tail) for key, tail in tails.items()}) * len({*tails.values()}) != len(keys):
            return {}
    counts = Counter(tails.values())
    if "" in counts or not 2 <= len(counts) <= MOST or len({*counts.values()}) > 1 or 1 in counts.values():
        return {}
    return {key: f"*{tail}" for key, tail in tails.items()}


def tails_of(stem: str) -> list[str]:
    """The last endings of a name that begin with a sign and have letters, the shortest first; then
    the whole, if it has a word of a role."""
    starts = [match.start() for match in TAIL.finditer(stem)][-MOST:]
    whole = [stem] if not any(letter.isdigit() for letter in stem) and role_of(stem) else []
    return [stem[start:] for start in reversed(starts)] + whole


def find_pattern(mark: str, names: Mapping[str, list[str]]) -> str:
    """A pattern of names for a family that no name of another family matches; `UNNAMED` if none is found."""
    own = names[mark]
    others = [name for other, found in names.items() if other != mark for name in found]
    endings = Counter(PurePosixPath(name).suffix for name in own)
    ending = next(iter(endings)) if len(endings) == 1 else ".*"
    tries = [mark] if mark.startswith("*.") else []
    if ending != ".*":
        stem = {len(PurePosixPath(name).stem) for name in own}
        tries += [f"{mark}{ending}", f"*[0-9]{ending}", f"*[LR]{ending}"]
        tries += ["?" * next(iter(stem)) + ending] if len(stem) == 1 else []
        tries += [f"*{own[0].removesuffix(ending)[-1:]}{ending}"]
    else:
        tries += [f"{mark}.???" if mark != "*" else "", "*[0-9].???"]
    for pattern in filter(None, tries):
        if (
            is_pattern(pattern)
            and all(match_name(pattern, name) is not None for name in own)
            and not any(match_name(pattern, name) is not None for name in others)
        ):
            return pattern
    return UNNAMED
