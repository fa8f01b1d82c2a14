"""Machines that are made up, and data sets, for tests of plans."""

from pathlib import Path
from runpy import run_path

from segkit.planning import setups
from segkit.planning.fingerprint import Fingerprint
from segkit.planning.machine import Cost, Network

TABLE = run_path(str(Path(__file__).parents[1] / "benchmarks" / "plan_table.py"))
SKIN: Fingerprint = TABLE["SKIN"]
VESSELS: Fingerprint = TABLE["VESSELS"]


class MadeUp:
    """A machine on which a pixel of a U-Net of width 16 costs so many seconds a step."""

    def __init__(self, pixel: float, device: str = "cpu", devices: int = 1, memory: float = 1e10) -> None:
        self.pixel, self.device, self.on_cpu = pixel, device, device == "cpu"
        self.devices, self.memory = devices, memory

    def describe(self) -> str:
        return f"{self.device}, made up"

    def cost(self, network: Network) -> Cost:
        scale = ((network.width or 20) / 16) ** 1.4
        return Cost(0.01, self.pixel * scale, self.pixel * scale / 4, 1000 * scale)


CORE, CORES, GPU = MadeUp(4e-6), MadeUp(2e-6), MadeUp(2e-8, "cuda")
ALL = list(setups.NETWORKS)
SCRATCH = [network for network in ALL if not network.pretrained]
