"""What nnU-Net's 2D network would take: the time of its iterations on this machine, as it plans them itself.

taskset -c 0 python benchmarks/peer_nnunet.py ../shared/data ph2 ../peers/bin/python outputs/nnunet

It trains 1000 epochs of 250 iterations, whatever the time; what is measured here is some iterations of the first epoch,
in a separate process of an environment of its own, after its own preprocessing.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import cv2
from plans import SETS, load_sources

from segkit.datasets.source import Source

EPOCHS, ITERATIONS = 1000, 250
TRAIN = """
import torch
from nnunetv2.run.run_training import get_trainer_from_args
trainer = get_trainer_from_args("1", "2d", 0, "nnUNetTrainer", "nnUNetPlans", device=torch.device("cpu"))
trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 2, {count}, 1
trainer.initialize()
planned = trainer.configuration_manager
print(f"batch {{planned.batch_size}} of {{planned.patch_size[0]}}×{{planned.patch_size[1]}}")
trainer.run_training()
"""


def write_raw(source: Source, folder: Path) -> None:
    """The training pictures as nnU-Net reads them."""
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
    for index in range(len(source)):
        sample = source[index]
        image = cv2.cvtColor(sample["image"].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / "imagesTr" / f"p{index:05}_0000.png"), image)
        cv2.imwrite(str(folder / "labelsTr" / f"p{index:05}.png"), sample["mask"].numpy())
    labels = {"background": 0} | {name: number for number, name in enumerate(source.classes, 1)}
    facts = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": labels, "file_ending": ".png"}
    facts |= {"numTraining": len(source), "overwrite_image_reader_writer": "NaturalImage2DIO"}
    (folder / "dataset.json").write_text(json.dumps(facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("name", choices=list(SETS))
    parser.add_argument("python", type=Path, help="of the environment that has nnunetv2")
    parser.add_argument("output", type=Path)
    parser.add_argument("--iterations", type=int, default=4)
    given = parser.parse_args()
    folder = (given.output / given.name).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    write_raw(load_sources(given.data, given.name)["train"], folder / "raw" / "Dataset001_segkit")
    places = {f"nnUNet_{kind}": str(folder / kind) for kind in ("raw", "preprocessed", "results")}
    environment = os.environ | places | {"nnUNet_compile": "f", "nnUNet_n_proc_DA": "1"}
    plan = [
        str(given.python.parent / "nnUNetv2_plan_and_preprocess"),
        *["-d", "1", "-c", "2d", "-np", "1", "-npfp", "1"],
    ]
    subprocess.run(plan, env=environment, check=True, capture_output=True)
    train = [str(given.python), "-c", TRAIN.format(count=given.iterations)]
    done = subprocess.run(train, env=environment, check=True, capture_output=True, text=True)
    times = [float(found) for found in re.findall(r"Epoch time: ([\d.]+) s", done.stdout)]
    batch = re.search(r"^batch (.+)$", done.stdout, re.MULTILINE)
    each = times[-1] / (given.iterations + 1)  # a validation step, too
    hours = each * EPOCHS * ITERATIONS / 3600
    size = batch[1] if batch else "?"
    print(f"{given.name}: batches of {size}, {each:.1f} s an iteration, {hours:.0f} h in all")


if __name__ == "__main__":
    main()
