"""What a frozen encoder saves: steps of MobileNetV2's U-Net at 128², batches of 8, as in ablation=ph2_fine_tuning."""

import statistics
from typing import Any

import torch
from loops import PRECISION, noise_config, segkit_steps

ROUNDS = 5
EPOCH = 100 / 8  # steps of an epoch of PH²


def measure() -> list[dict[str, Any]]:
    words = ["model=mobilenet_unet", "weights=none", "loss=bce_dice", "optimizer=adamw"]
    kinds = {"trained": [], "frozen": ["freeze=encoder"]}
    configs = {name: noise_config(128, 8, 72, *words, *more) for name, more in kinds.items()}
    times: dict[str, list[float]] = {name: [] for name in configs}
    for turn in range(ROUNDS + 1):
        for name, config in configs.items():
            taken = segkit_steps(config)
            times[name] += taken if turn else []  # the first turn is to warm up
    trained, held = (statistics.median(taken) for taken in times.values())
    return [
        {
            "name": "fine tuning, MobileNetV2's U-Net at 128²: a step that trains the encoder / one with it frozen",
            "ratio": round(trained / held, 3),
            "target": 1.0,
            "better": "higher",
            "detail": f"{1000 * trained:.0f} and {1000 * held:.0f} ms a step, that is {EPOCH * trained:.1f} and "
            f"{EPOCH * held:.1f} s an epoch of 100 pictures, {PRECISION}, {torch.get_num_threads()} threads, "
            f"medians over {ROUNDS} turns",
        }
    ]
