"""What the network will see: training pictures and their augmented versions, on one sheet."""

from pathlib import Path

from segkit.datasets.module import DataModule, collate, spread_evenly
from segkit.datasets.scan import capture_complaints
from segkit.datasets.source import extras_of
from segkit.pictures import overlays, sheets
from segkit.pictures.overlays import Pixels


def draw_augmented(data: DataModule, path: Path, count: int, epochs: int) -> int:
    """Write a sheet of at most `count` training pictures: each with its mask, and the same after the augmentation of
    several epochs (for crops, the crops of one epoch). Ignored pixels are hatched. Returns how many it shows."""
    source = data.sources["train"]
    colors = overlays.class_colors(len(source.classes), extras_of(source).colors, source.classes)
    rows: list[tuple[str, list[Pixels]]] = []
    for index in spread_evenly(len(source), count):
        with capture_complaints():  # of decoders: the check has told of them
            sample = source[index]
            image, mask = sample["image"].permute(1, 2, 0).numpy(), sample["mask"].numpy()
            shown = [(image, mask), *augmented_views(data, index, epochs)]
        laid = [overlays.overlay(one, values, colors) for one, values in shown]
        sizes = dict.fromkeys(f"{one.shape[1]} by {one.shape[0]}" for one, _ in shown)
        rows.append((f"{sample['name']}, {', then '.join(sizes)}", [image, *laid]))
    what = "crop" if data.train_mode in ("five", "grid") else "epoch"
    columns = max(len(row) for _, row in rows) - 2
    titles = ["picture", f"mask{overlays.IGNORED}", *(f"{what} {number}" for number in range(1, columns + 1))]
    overlays.save(path, sheets.draw_table(rows, titles, colors, source.classes))
    return len(rows)


def augmented_views(data: DataModule, index: int, epochs: int) -> list[tuple[Pixels, Pixels]]:
    """One training picture (H, W, 3) and its mask (H, W) as they are in batches, for each epoch or each crop."""
    loaded = data.train_dataloader().dataset
    epochs = 1 if data.train_mode in ("five", "grid") else epochs
    batches = [data.on_after_batch_transfer(collate([loaded[(epoch, index, True)]]), 0) for epoch in range(epochs)]
    return [
        (image.permute(1, 2, 0).numpy().copy(), mask.numpy())
        for batch in batches
        for image, mask in zip(batch["image"], batch["mask"], strict=True)
    ]
