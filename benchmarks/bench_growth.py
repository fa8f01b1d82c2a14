"""How the cost of a training step grows, a picture (growth.png): what should be flat a pixel or a picture is."""

import math
import statistics
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from loops import noise_config, segkit_steps

# factor: the values it takes, and what the cost is of
GROWTH: dict[str, tuple[list[int], str]] = {
    "batch size": ([2, 4, 8, 16, 32], "picture"),
    "picture side": ([64, 96, 128, 192, 256], "1,000 pixels"),
    "number of pictures": ([32, 64, 128, 256], "picture"),
    "number of classes": ([2, 4, 8, 16], "picture"),
}
STEPS, ALLOWED = 12, 1.25


def measure() -> list[dict[str, Any]]:
    found, figure = [], plt.figure(figsize=(11, 7), layout="constrained")
    for number, (factor, (values, unit)) in enumerate(GROWTH.items(), start=1):
        costs = [cost(factor, value) for value in values]
        slope = float(np.polyfit(np.log2(values), np.log2(costs), 1)[0])
        axes = figure.add_subplot(2, 2, number)
        axes.loglog(values, [1e3 * cost for cost in costs], "o-")
        axes.set(xlabel=factor, ylabel=f"ms a {unit}", ylim=(1e3 * min(costs) / 3, 1e3 * max(costs) * 3))
        axes.set_title(f"cost ∝ ({factor})^{slope:.2f}")
        axes.set_xticks(values, [str(value) for value in values])
        axes.minorticks_off()
        rows = ", ".join(f"{value}: {1e3 * taken:.2f}" for value, taken in zip(values, costs, strict=True))
        found.append(
            {
                "name": f"growth with {factor}: cost a {unit}, largest value / smallest value",
                "ratio": round(costs[-1] / costs[0], 3),
                "target": limit(factor, values),
                "better": "lower",
                "detail": f"ms a {unit} at {rows}; slope {slope:.2f}",
            }
        )
    figure.savefig(Path(__file__).parent / "growth.png", dpi=90)
    plt.close(figure)
    return found


def limit(factor: str, values: list[int]) -> float:
    """Flat, but for the classes: a score and a loss of every class cost their share."""
    return round(math.sqrt(values[-1] / values[0]), 2) if factor == "number of classes" else ALLOWED


def cost(factor: str, value: int) -> float:
    """Median seconds a picture (or 1,000 pixels, where the side grows) of a small U-Net's steps."""
    side, batch, count, classes = 96, 8, 8 * STEPS, 1
    if factor == "batch size":
        batch, count = value, value * STEPS
    elif factor == "picture side":
        side = value
    elif factor == "number of pictures":
        count = value
    else:
        classes = value
    config = noise_config(side, batch, count, "model=unet", "model.net.widths=[8,16,32,64]", classes=classes)
    taken = statistics.median(segkit_steps(config)) / batch
    return taken * 1000 / side**2 if factor == "picture side" else taken
