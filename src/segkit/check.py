"""`python -m segkit.check dataset=… augment=…`: faults of a data set, and a sheet of what the network will see."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from segkit import console
from segkit.configs.command import command
from segkit.configs.composing import find_classes, to_plain
from segkit.configs.settings import check_settings

if TYPE_CHECKING:
    from segkit.datasets.module import DataModule
    from segkit.pictures.overlays import Pixels


def check(cfg: DictConfig) -> None:
    """Read all files as `train` does before it trains, and raise all faults in one list; then write `augmented.png` in
    `cfg.output`: training pictures with their masks, and beside them the same after the augmentation of several epochs
    (for crops, the crops of one epoch). Ignored pixels are hatched."""
    given = check_settings(cfg, "check")
    from segkit.datasets.layout import check_layout

    check_layout(given)
    from segkit.datasets.checks import check_data, check_meaning
    from segkit.datasets.findings import gather_findings
    from segkit.datasets.source import extras_of
    from segkit.pictures import overlays, sheets
    from segkit.runs.build import build_data
    from segkit.runs.console import log_to_console

    log_to_console()
    find_classes(cfg)
    settings = to_plain(cfg)
    with gather_findings():
        data = build_data(settings | {"dataset": settings["dataset"] | {"workers": 0}}, follow_links=True)
        check_meaning(data)
        check_data(data, thorough=True)
    counts = " / ".join(str(len(source)) for source in data.sources.values())
    console.say(f"{counts} train / val / test pictures read: nothing that training would refuse")
    source = data.sources["train"]
    colors = overlays.class_colors(len(source.classes), extras_of(source).colors, source.classes)
    rows: list[tuple[str, list[Pixels]]] = []
    for index in spread_evenly(len(source), settings["count"]):
        sample = source[index]
        image, mask = sample["image"].permute(1, 2, 0).numpy(), sample["mask"].numpy()
        shown = [(image, mask), *augmented_views(data, index, settings["epochs"])]
        laid = [overlays.overlay(one, values, colors) for one, values in shown]
        sizes = dict.fromkeys(f"{one.shape[1]} by {one.shape[0]}" for one, _ in shown)
        rows.append((f"{sample['name']}, {', then '.join(sizes)}", [image, *laid]))
    what = "crop" if data.train_mode in ("five", "grid") else "epoch"
    columns = max(len(row) for _, row in rows) - 2
    titles = ["picture", f"mask{overlays.IGNORED}", *(f"{what} {number}" for number in range(1, columns + 1))]
    path = Path(settings["output"]) / "augmented.png"
    overlays.save(path, sheets.draw_table(rows, titles, colors, source.classes))
    console.say(f"{len(rows)} of {len(source)} training pictures as the network will see them: {path}")


def spread_evenly(length: int, count: int) -> list[int]:
    """`count` positions, spread evenly over a list."""
    return sorted({round(at * (length - 1) / max(count - 1, 1)) for at in range(count)})


def augmented_views(data: "DataModule", index: int, epochs: int) -> list[tuple[Any, Any]]:
    """One training picture (H, W, 3) and its mask (H, W) as they are in batches, for each epoch or each crop."""
    from segkit.datasets.module import collate

    loaded = data.train_dataloader().dataset
    epochs = 1 if data.train_mode in ("five", "grid") else epochs
    batches = [data.on_after_batch_transfer(collate([loaded[(epoch, index, True)]]), 0) for epoch in range(epochs)]
    return [
        (image.permute(1, 2, 0).numpy().copy(), mask.numpy())
        for batch in batches
        for image, mask in zip(batch["image"], batch["mask"], strict=True)
    ]


main = command("check", check)

if __name__ == "__main__":
    main()
