"""What the names of folders and files say: which split they are, and whether they are pictures, masks or neither."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Role = Literal["pictures", "masks", "field", "other", ""]

# Beginnings and endings that name a split (imagesTr, DUTS-TE) are told from words by their capitals.
SPLIT_WORDS = {
    "train": ("train", "training", "trn", "trainset", "trainval", "Tr", "TR"),
    "val": ("val", "valid", "validation", "validate", "valset", "dev"),
    "test": ("test", "testing", "tst", "testset", "Ts", "TS", "Te", "TE"),
}
SPLIT_OF = {word: split for split, words in SPLIT_WORDS.items() for word in words}
ROLE_WORDS: dict[Role, str] = {
    "other": "thumb thumbs thumbnail thumbnails preview previews overlay overlays visualization visualizations "
    "visualisation visualisations vis depth superpixel superpixels pred preds prediction predictions heatmap heatmaps",
    "field": "fov roi rois",
    "masks": "mask masks label labels lbl lbls annotation annotations annot annots annotated ann anns anno annos gt "
    "gts groundtruth groundtruths truth truths manual manuals seg segs segm segms segmentation segmentations target "
    "targets trimap trimaps matte mattes semantic semantics semseg instance instances masken maske",
    "pictures": "image images img imgs picture pictures pic pics photo photos input inputs rgb original originals raw "
    "frame frames scan scans bild bilder foto fotos",
}
ROLE_OF: dict[str, Role] = {word: role for role, words in ROLE_WORDS.items() for word in words.split()}
ALONE: dict[str, Role] = {"x": "pictures", "y": "masks"}  # as the whole name
OF_A_SPLIT = {"crop", "crops", "data", "set", *ROLE_OF}  # what may stick to a split's word: trainannot
FORMATS = {"bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp"}
GLUED = re.compile(r"(train(?:ing|val)?|valid(?:ation)?|val|test(?:ing)?)([^\W\d_]+)", re.IGNORECASE)
LETTERS = re.compile(r"[^\W\d_]+")
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")


class Word(NamedTuple):
    """A word in a name, and where it begins."""

    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def words_in(name: str) -> Iterator[Word]:
    """The words of a name: `JPEGImages` and `trainannot` have two."""
    for run in LETTERS.finditer(name):
        text, start = run[0], run.start()
        if text.casefold() in ROLE_OF or text.casefold() in SPLIT_OF:
            yield Word(text, start)
            continue
        for part in PARTS.finditer(text):
            glued = GLUED.fullmatch(part[0])
            if glued and part[0].casefold() not in SPLIT_OF and glued[2].casefold() in OF_A_SPLIT:
                yield Word(glued[1], start + part.start())
                yield Word(glued[2], start + part.start() + len(glued[1]))
            else:
                yield Word(part[0], start + part.start())


def role_of(name: str) -> Role:
    """What a name says its files are: `JPEGImages` pictures, `1st_manual` masks; "" if it says nothing."""
    words = [word.text.casefold() for word in words_in(name)]
    if (rest := [word for word in words if word not in SPLIT_OF]) and len(rest) == 1 and rest[0] in ALONE:
        return ALONE[rest[0]]
    said = {ROLE_OF[word] for word in words if word in ROLE_OF}
    return next((role for role in ROLE_WORDS if role in said), "")


def split_of(word: str, alone: bool = True) -> str:
    """The split that a word names, or ""; words of two letters (imagesTr) do not count if they stand `alone`."""
    if len(word) == 2:
        return "" if alone else SPLIT_OF.get(word, "")
    return SPLIT_OF.get(word.casefold(), "")


def mark_split(name: str, strict: bool = False) -> tuple[str, str]:
    """A folder's name with `{split}` for the word that names its split, and that split: (`{split}_images`, `train`);
    the name itself and "" if it names none. strict: only if that word is the whole name."""
    words = list(words_in(name))
    found = [(word, split) for word in words if (split := split_of(word.text, len(words) == 1))]
    splits = {split for _, split in found}
    if splits == {"train", "val"}:  # train_val
        spans, split = [(found[0][0].start, found[-1][0].end)], "train"
    elif len(splits) == 1:
        spans, split = [(word.start, word.end) for word, _ in found], splits.pop()
    else:
        return name, ""
    marked = name
    for start, end in reversed(spans):
        marked = f"{marked[:start]}{{split}}{marked[end:]}"
    return (name, "") if strict and marked != "{split}" else (marked, split)
