"""`python -m segkit.annotations input=project.json images=photos/ output=my_data`: makes a data set from outlines drawn
in another tool, or writes masks as a file that such a tool imports."""

from pathlib import Path

from omegaconf import DictConfig

from segkit import console
from segkit.configs.command import command
from segkit.configs.settings import check_settings

MASKS = ("threshold", "colors", "ignore_values")  # what mask values mean


def annotations(cfg: DictConfig) -> list[str]:
    """Make a data set from the annotations in `input`, or with `to`, an annotation file from the masks there. Prints
    what was done and what to do next, and returns it."""
    settings = check_settings(cfg, "annotations")
    source, output = Path(settings["input"]), Path(settings["output"])
    images = None if settings["images"] is None else Path(settings["images"])
    if settings["to"] is None:
        from segkit.datasets.from_annotations import make_data_set

        chosen = {key: settings[key] for key in ("label", "classes", "unlabelled", "missing", "by_name")}
        said = make_data_set(source, images, output, format=settings["from"], **chosen)
    elif images is not None:
        from segkit.datasets.to_annotations import write_annotations

        chosen = {key: settings[key] for key in (*MASKS, "mask_suffix", "tolerance", "rle", "prefix")}
        said = write_annotations(settings["to"], source, images, output, settings["classes"], **chosen)
    for line in said:
        console.say(line)
    return said


main = command("annotations", annotations)
if __name__ == "__main__":
    main()
