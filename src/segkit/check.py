"""`python -m segkit.check dataset=… augment=…`: a sheet of what the network will see."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from segkit.configs import command, find_classes, to_plain

if TYPE_CHECKING:
    from segkit.datasets.module import DataModule
    from segkit.pictures import Pixels


def check(cfg: DictConfig) -> None:
    """`augmented.png` in `cfg.output`: training pictures as they are with their masks, and beside them as they come out
    of several epochs' augmentation (of crops, an epoch's crops). Ignored pixels are hatched."""
    from segkit import pictures, records, runs

    records.log_to_console()
    find_classes(cfg)
    settings = to_plain(cfg)
    for key in ("count", "epochs"):
        if not isinstance(settings[key], int) or settings[key] < 1:
            raise ValueError(f"{key}={settings[key]}: expected a whole number, 1 or more.")
    data = runs.build_data(settings | {"dataset": settings["dataset"] | {"cache": "off", "workers": 0}}, ["train"])
    source = data.sources["train"]
    colors = pictures.class_colors(len(source.classes), getattr(source, "colors", None))
    rows: list[tuple[str, list[Pixels]]] = []
    for index in spread(len(source), settings["count"]):
        sample = source[index]
        image, mask = sample["image"].permute(1, 2, 0).numpy(), sample["mask"].numpy()
        shown = [(image, mask), *views(data, index, settings["epochs"])]
        laid = [pictures.overlay(one, values, colors) for one, values in shown]
        sizes = dict.fromkeys(f"{one.shape[1]} by {one.shape[0]}" for one, _ in shown)
        rows.append((f"{sample['name']}, {', then '.join(sizes)}", [image, *laid]))
    what = "crop" if data.train_mode in ("five", "grid") else "epoch"
    columns = max(len(row) for _, row in rows) - 2
    titles = ["picture", f"mask{pictures.IGNORED}", *(f"{what} {number}" for number in range(1, columns + 1))]
    path = Path(settings["output"]) / "augmented.png"
    pictures.save(path, pictures.table(rows, titles, colors, source.classes))
    print(f"{len(rows)} of {len(source)} training pictures as the network will see them: {path}")


def spread(length: int, count: int) -> list[int]:
    """`count` positions evenly over a list."""
    return sorted({round(at * (length - 1) / max(count - 1, 1)) for at in range(count)})


def views(data: "DataModule", index: int, epochs: int) -> list[tuple[Any, Any]]:
    """One training picture as batches have it: (H, W, 3) and its mask (H, W), of each epoch or each crop."""
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
