"""`python -m segkit.check dataset=… augment=…`: what a data set looks like, what is wrong with it, what to do; and a
sheet of what the network will see."""

from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from segkit import console
from segkit.configs.command import command
from segkit.configs.composing import find_classes, to_plain
from segkit.configs.settings import check_settings

RUNS = Path("outputs")  # whose spread of scores tells how many pictures a test takes


def check(cfg: DictConfig) -> None:
    """Read all files, print a summary, and write into `cfg.output`: check.html, findings.csv, dataset_card.md and
    `augmented.png` (see `segkit.evaluation.augmented`). With `fix`, write a repaired copy there instead.

    Raises DataError with all that training would refuse, in one list, after writing what it found.
    """
    given = check_settings(cfg, "check")
    from segkit.datasets.layouts.layout import check_layout

    check_layout(given)
    from segkit.datasets.checking.checks import check_cover
    from segkit.datasets.checking.checkup import check_dataset, name_data
    from segkit.datasets.checking.repairs import write_copy
    from segkit.datasets.findings import collect_findings
    from segkit.evaluation.augmented import draw_augmented
    from segkit.reporting.data_page import judge_sizes, write_checkup
    from segkit.runs.build import build_data, fingerprint_of
    from segkit.runs.console import log_to_console

    log_to_console()
    find_classes(cfg)
    settings, folder = to_plain(cfg), Path(cfg.output)
    with collect_findings() as found:
        uncached = settings["dataset"] | {"workers": 0, "cache": "off"}
        data = build_data(settings | {"dataset": uncached}, follow_links=True)
    name = name_data(settings["choices"]["dataset"], data)
    checkup = check_dataset(data, found, name, progress=True, repair=settings["fix"])
    checkup = replace(checkup, hints=(*checkup.hints, *judge_sizes(data, settings["dataset"], RUNS)))
    for line in checkup.summary():
        if not (settings["fix"] and line.startswith("try:")):
            console.say(line)
    checkup.log_warnings()
    page = write_checkup(checkup, folder, fingerprint_of(data))
    console.say(f"{console.format_count(len(checkup.problems), 'finding')} with pictures and remedies: {page}")
    if settings["fix"]:
        repairs, line = write_copy(checkup, folder, settings["overrides"])
        console.say(f"{console.format_count(len(repairs), 'repair')}: {folder / 'repairs.csv'}\nNext:\n  {line}")
        return
    if (error := checkup.error()) is not None:
        raise error
    counts = " / ".join(str(len(source)) for source in data.sources.values())
    console.say(f"{counts} train / val / test pictures read: nothing that training would refuse")
    check_cover(data)
    sheet = folder / "augmented.png"
    shown = draw_augmented(data, sheet, settings["count"], settings["epochs"])
    console.say(f"{shown} of {len(data.sources['train'])} training pictures as the network will see them: {sheet}")


main = command("check", check)

if __name__ == "__main__":
    main()
