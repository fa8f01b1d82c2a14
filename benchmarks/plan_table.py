"""What the rules of a plan choose on machines that are made up, as a table.

python benchmarks/plan_table.py            # prints it as Markdown; docs/explanation/planning.md holds it

A machine's costs are those measured on one core of a server, divided by a factor: no run was made on them.
"""

from dataclasses import replace
from typing import NamedTuple

from segkit.planning import setups
from segkit.planning.fingerprint import Fingerprint
from segkit.planning.machine import Cost, Network

# Seconds of a step, of a pixel in it, of a pixel that is predicted, on one core of an EPYC in bfloat16; bytes a pixel.
LITE = Cost(0.062, 1.27e-6, 0.57e-6, 1100)
WIDTH_8 = Cost(0.014, 0.73e-6, 0.35e-6, 360)


class MadeUp(NamedTuple):
    """A machine that is so many times as fast as one core."""

    name: str
    factor: float
    on_cpu: bool = True
    devices: int = 1
    memory: float = 8e9

    def describe(self) -> str:
        return f"{'cpu' if self.on_cpu else 'cuda'}, {self.name}"

    def cost(self, network: Network) -> Cost:
        if network.pretrained:
            step, pixel, seen, kept, _ = LITE
        else:
            wider = network.width / 8
            step, pixel, seen, kept = (
                part * wider**power for part, power in zip(WIDTH_8[:4], (1, 1.5, 1.4, 1), strict=True)
            )
        return Cost(step / min(self.factor, 20), pixel / self.factor, seen / self.factor, kept)


MACHINES = (
    MadeUp("a phone's CPU", 0.25, memory=1e9),
    MadeUp("two cores", 1.8),
    MadeUp("a GPU", 150, on_cpu=False, memory=22e9),
    MadeUp("eight GPUs", 150, on_cpu=False, devices=8, memory=22e9),
)
SKIN = Fingerprint(
    train=100,
    val=50,
    test=50,
    size=(576, 768),
    smallest=576,
    largest=768,
    classes=1,
    thin=150.0,
    thick=300.0,
    shares=(0.3,),
    empty=0.0,
    upright=False,
)
VESSELS = replace(SKIN, train=20, val=4, size=(960, 999), largest=999, thin=3.0, thick=7.0, shares=(0.07,))
STREETS = replace(
    SKIN,
    train=20_000,
    val=2000,
    size=(1024, 2048),
    largest=2048,
    classes=19,
    thin=6.0,
    thick=120.0,
    shares=(1 / 19,) * 19,
)
WALLS = replace(SKIN, train=40, val=10, size=(3000, 4000), largest=4000, thin=3.0, thick=6.0, shares=(0.003,))
DATA = {
    "20 retinas, vessels": VESSELS,
    "40 walls of 12 megapixels, cracks": WALLS,
    "100 lesions": SKIN,
    "20,000 streets, 19 classes": STREETS,
}
MINUTES = (4, 60)


def row(data: Fingerprint, machine: MadeUp, minutes: float) -> str:
    """What is chosen, in a cell."""
    setup = setups.find_setups(data, machine, 60 * minutes, list(setups.NETWORKS))[0]
    name = "Lite0" if setup.network.pretrained else f"width {setup.network.width}"
    height, width = setup.size
    if not setups.is_enough(setup):
        return "refused: too short"
    passes = (
        "over 1000" if setup.passes > 1000 else f"{setup.passes:.2g}" if setup.passes < 10 else f"{setup.passes:.0f}"
    )
    seen_in = f"windows at scale {setup.scale:.2g}" if setup.scale else f"{width}×{height}"
    return f"{name}, {seen_in}, {setup.batch} a batch, seen {passes}×"


def table() -> str:
    """The table, as Markdown."""
    lines = ["| data | machine | " + " | ".join(f"{minutes} min" for minutes in MINUTES) + " |"]
    lines.append("|" + " --- |" * (2 + len(MINUTES)))
    for name, data in DATA.items():
        for machine in MACHINES:
            cells = [row(data, machine, minutes) for minutes in MINUTES]
            lines.append(f"| {name} | {machine.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
