"""Memory: the peak of a training against the best loop by hand, and whether it grows over the runs of a sweep."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

SWEEP, SETTLED, ROUNDS = 20, 5, 3


def measure() -> list[dict[str, Any]]:
    peaks = [(float(child("hand")), float(child("own"))) for _ in range(ROUNDS)]
    hand, own = (statistics.median(sizes) for sizes in zip(*peaks, strict=True))
    sizes = json.loads(child("sweep"))
    start, end = sizes[SETTLED - 1], sizes[-1]
    return [
        {
            "name": "peak memory of a training, thesis U-Net: segkit / best loop by hand",
            "ratio": round(own / hand, 3),
            "target": 1.05,
            "better": "lower",
            "detail": f"{own / 2**20:,.0f} and {hand / 2**20:,.0f} MB, of processes "
            f"with the same imports, medians of {ROUNDS}",
        },
        {
            "name": f"memory after run {SWEEP} of a sweep in one process / after run {SETTLED}",
            "ratio": round(end / start, 3),
            "target": 1.03,
            "better": "lower",
            "detail": f"{end / 2**20:,.0f} and {start / 2**20:,.0f} MB",
        },
    ]


def child(kind: str) -> str:
    here = Path(__file__)
    paths = os.pathsep.join([str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(here), kind],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": paths},
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()[-1]


def main(kind: str) -> None:
    import gc
    import resource
    import tempfile

    import torch
    from loops import DEVICE, batches_of, hand_steps, noise_config, segkit_steps

    from segkit.configs.composing import compose
    from segkit.runs.making import make
    from segkit.train import train

    if kind == "sweep":
        sizes = []
        with tempfile.TemporaryDirectory() as folder:
            for number in range(SWEEP):
                train(
                    compose(
                        "dataset.counts=[32,8,8]",
                        "dataset.size=64",
                        "trainer.max_epochs=2",
                        f"seed={number}",
                        f"run_dir={folder}/{number}",
                    )
                )
                gc.collect()
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                sizes.append(pages * resource.getpagesize())
        print(json.dumps(sizes))
        return
    config = noise_config(224, 12, 36, "model=unet")
    if kind == "hand":
        hand_steps(make(config["model"]["net"]), make(config["loss"]), batches_of(config), True, 1e-3)
    else:
        segkit_steps(config)
    on_gpu = DEVICE.type == "cuda"
    print(torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main(sys.argv[1])
