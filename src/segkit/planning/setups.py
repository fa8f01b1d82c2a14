"""Which network sees pictures at which size: what a plan trades within its time.

The trade is meant for a budget that is short for the data, where every choice is one between detail and repetition.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from segkit.planning.fingerprint import Fingerprint
from segkit.planning.machine import Cost, Machine, Network, unet

SHARE = 0.85  # of the budget that trains: the rest probes, validates, and writes checkpoints
LOADING = 1.15  # a step with its pictures read and augmented, relative to one without
VALIDATION = 0.1  # share of the training time that validations may take
EPOCHS = 10  # at least, so that the best of them is worth choosing
SMALLEST, LARGEST = 64, 1024  # side of what a network sees, in pixels
SPARE = 2.0  # times the size that shows objects well, which a budget with time to spare may go to
ROOM = 0.5  # share of the free memory that the pictures of a batch may take
SHARED = 0.9  # of its speed that each of several GPUs keeps, as they wait for each other
WINDOW = 256  # side of windows
MOST_SEEN = 4096  # side of a picture that is cut into them
STEP = 32  # sides are multiples of this
STEPPING = 4  # batch on a CPU from scratch
LEAST_BATCH = 2  # for batch norm
CLOSE = 2.0  # doublings, within which the worths of two setups do not tell which is better
TRIAL = 0.1  # share of the budget in which each of them is tried
TOLD = 5  # passes, below which a trial tells little
FEW = 20  # validation pictures, below which they choose neither the epoch nor the network
SHORTEST, LONGEST = 120, 3600  # seconds of a budget that is proposed
LITE0 = Network("U-Net on EfficientNet-Lite0", ("model=lite_unet",), pretrained=True)
NETWORKS = (LITE0, *(unet(width) for width in (32, 24, 16, 12, 8)))
THIN, THICK = (3.0, 1.5), (48.0, 2.5)  # pixels across an object's thinnest parts and its middle: wanted, and the least


class Given(NamedTuple):
    """What a command line has decided itself: the (height, width) that the network sees, the batch size, whether it
    sees whole pictures, and the seconds that the prediction of one may take."""

    size: tuple[int, int] | None = None
    batch: int | None = None
    whole: bool = False
    prediction: float = math.inf


NOTHING = Given()


class Setup(NamedTuple):
    """A network that sees pictures of a size (height, width). passes: over the training pictures that the budget
    allows. seconds: of a training step. scale: 0 for whole pictures; else `size` is that of windows, cut from pictures
    that are resized by it. windows: how many cover a picture."""

    network: Network
    size: tuple[int, int]
    batch: int
    passes: float
    seconds: float
    scale: float = 0.0
    windows: float = 1.0


def wanted_passes(pictures: float, pretrained: bool) -> float:
    """How often every training picture, or all that windows show of it, should be seen: so often that a network from
    scratch sees 6,000 of them and one with pretrained weights 4,000, but 10 and 12 times at least, and 80 and 40 at
    most."""
    wanted, least, most = (4000, 12, 40) if pretrained else (6000, 10, 80)
    return min(max(wanted / pictures, least), most)


def wanted_scale(data: Fingerprint) -> tuple[float, float]:
    """The scale (of 1: as in the files) at which objects are seen well, and the least at which they are seen at all.

    The thinnest parts (5 % of the area) are 3 pixels across, or 1.5 at least, and half of the area belongs to objects
    of 48 pixels, or 2.5 at least: two pixels tell a line from noise, and outlines that are half a pixel off cost an
    object of 48 pixels about 2 % of IoU; more detail costs time that repetition uses better.
    """
    if not data.thin:
        return 1.0, 0.25
    well, least = (max(THIN[at] / data.thin, THICK[at] / data.thick) for at in (0, 1))
    return min(well, 1.0), min(least, 1.0)


def batch_size(pictures: float, on_cpu: bool, pretrained: bool) -> int:
    """A tenth of the pictures at most, so that an epoch has ten steps; 8 on a CPU, where larger ones are hardly quicker
    a picture, and 4 from scratch, since more steps teach more; 16 on a GPU; 2 at least, for batch norm."""
    on_this = (8 if pretrained else STEPPING) if on_cpu else 16
    return max(min(on_this, int(pictures / 10)), LEAST_BATCH)


def fitting_batch(batch: int, machine: Machine, cost: Cost, size: tuple[int, int]) -> int:
    """The batch, or as much of it as half of the free memory holds; 2 at least."""
    most = ROOM * machine.memory / max(cost.kept * size[0] * size[1], 1)
    return max(min(batch, int(most)), LEAST_BATCH)


def sizes_between(data: Fingerprint, least: float, most: float) -> Iterator[tuple[int, int]]:
    """(height, width) in multiples of 32 with the pictures' proportions, from the largest to the smallest."""
    low = min(max(round(least * data.long_side / STEP), SMALLEST // STEP), LARGEST // STEP)
    high = max(math.ceil(min(most * data.long_side, LARGEST) / STEP), low)
    for units in range(high, low - 1, -1):
        yield _proportional(data.size, units * STEP)


def _proportional(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    height, width = (max(round(edge * scale / STEP), 1) * STEP for edge in size)
    return height, width


def step_seconds(cost: Cost, batch: int, size: tuple[int, int]) -> float:
    """The seconds of a training step, with its pictures read and augmented."""
    return LOADING * (cost.step + cost.pixel * batch * size[0] * size[1])


def side_by_side(machine: Machine) -> float:
    """How many devices' worth of pictures a machine trains on at once."""
    return 1.0 if machine.devices == 1 else SHARED * machine.devices


def propose_budget(
    data: Fingerprint, machine: Machine, offered: Sequence[Network], given: Given = NOTHING
) -> tuple[float, str]:
    """The seconds, in whole minutes, in which the quickest of some networks sees every training picture as often as it
    should, at the size that shows objects well; and why."""
    well, least = wanted_scale(data)
    *_, (size, scale) = ways_to_see(data, given)  # in windows, the finest
    size = size if scale or given.size else next(sizes_between(data, least, well))

    def seconds(network: Network) -> tuple[float, float]:
        views = data.train * windows
        wanted, cost = wanted_passes(views, network.pretrained), machine.cost(network)
        largest = batch_size(views, machine.on_cpu, network.pretrained)
        batch = given.batch or fitting_batch(largest, machine, cost, size)
        steps = wanted * views / batch / side_by_side(machine)
        return steps * step_seconds(cost, batch, size) / SHARE, wanted

    windows = count_windows(data, size, scale)
    quick = [one for one in offered if prediction_seconds(machine, one, size, windows) <= given.prediction]
    needed, wanted = min(map(seconds, quick or offered))
    seen_in = "in windows" if scale else f"of {size[0]}×{size[1]}"
    why = f"{wanted:.0f} passes over {data.train} training pictures {seen_in} take so long here"
    return 60 * math.ceil(min(max(needed, SHORTEST), LONGEST) / 60), why


def find_setups(
    data: Fingerprint, machine: Machine, seconds: float, offered: Sequence[Network], given: Given = NOTHING
) -> list[Setup]:
    """Networks and sizes with the highest worth within the time, the best first: one with pretrained weights and one
    from scratch. If nothing sees every training picture once, the quickest alone."""
    found = list[Setup]()
    for network in offered:
        cost = machine.cost(network)
        for size, scale in ways_to_see(data, given):
            windows = count_windows(data, size, scale)
            largest = batch_size(windows * data.train, machine.on_cpu, network.pretrained)
            batch = given.batch or fitting_batch(largest, machine, cost, size)
            step = step_seconds(cost, batch, size)
            passes = seconds * SHARE / step * batch * side_by_side(machine) / data.train / windows
            found.append(Setup(network, size, batch, passes, step, scale, windows))
    found = keep_quick(found, machine, given.prediction)
    found.sort(key=lambda setup: worth(data, setup), reverse=True)
    if not is_enough(found[0]):
        return [max(found, key=lambda setup: setup.passes)]
    best = {setup.network.pretrained: setup for setup in reversed(found)}
    return sorted(best.values(), key=lambda setup: worth(data, setup), reverse=True)


def keep_quick(found: Sequence[Setup], machine: Machine, most: float) -> list[Setup]:
    """The setups that predict a picture in `most` seconds; ValueError if there are none."""
    times = [prediction_seconds(machine, setup.network, setup.size, setup.windows) for setup in found]
    if min(times) > most:
        name = found[times.index(min(times))].network.name
        raise ValueError(
            f"predict_ms={1000 * most:g} is too short: the quickest setup, {name}, takes {1000 * min(times):.1f} ms "
            "for a picture here. Allow more, or set a smaller dataset.size or network."
        )
    return [setup for setup, seconds in zip(found, times, strict=True) if seconds <= most]


def prediction_seconds(machine: Machine, network: Network, size: tuple[int, int], windows: float = 1.0) -> float:
    """The seconds in which a network sees one picture of so many windows of a size, in one view."""
    cost = machine.cost(network)
    return cost.alone + cost.seen * windows * size[0] * size[1]


def is_enough(setup: Setup) -> bool:
    """Whether every training picture is seen once; of windows, a quarter is enough, as they are where objects are."""
    return setup.passes >= (0.25 if setup.scale else 1)


def ways_to_see(data: Fingerprint, given: Given) -> Iterator[tuple[tuple[int, int], float]]:
    """Sizes of whole pictures, with 0; or of windows, with the scale of the pictures that they are cut from, if objects
    would not be seen in a whole picture of the largest size."""
    well, least = wanted_scale(data)
    if given.size:
        yield given.size, 0.0
    elif given.whole or least * data.long_side <= LARGEST:
        for size in sizes_between(data, least, min(SPARE * well, 1.0)):
            yield size, 0.0
    else:
        most = min(well, MOST_SEEN / data.long_side)
        least = min(least, most)
        steps = math.ceil(2 * math.log2(most / least))
        for step in range(steps + 1):
            scale = least * (most / least) ** (step / max(steps, 1))
            edges = (int(scale * edge / STEP) * STEP for edge in data.size)
            height, width = (max(min(edge, WINDOW), SMALLEST) for edge in edges)
            yield (height, width), scale


def count_windows(data: Fingerprint, size: tuple[int, int], scale: float) -> float:
    """How many windows of a size have as many pixels as a picture that is resized by a scale; 1 for whole pictures."""
    return scale**2 * data.size[0] * data.size[1] / (size[0] * size[1]) if scale else 1.0


def find_rival(data: Fingerprint, machine: Machine, possible: Sequence[Setup]) -> Setup | None:
    """The setup whose worth lies too close to the best's to tell which is better, so that both are tried. None where a
    trial tells little: it would not show every training picture five times, or one validation would take half of it, or
    few pictures validate."""

    def is_telling(setup: Setup) -> bool:
        trial = TRIAL * setup.passes * setup.windows * pass_seconds(data, machine, setup)
        return TRIAL * setup.passes >= TOLD and trial > 2 * validation_seconds(data, machine, setup)

    best, *others = possible
    close = [one for one in others if worth(data, best) - worth(data, one) <= CLOSE]
    telling = data.val >= FEW and all(map(is_telling, [best, *close]))
    return close[0] if close and telling else None


def worth(data: Fingerprint, setup: Setup) -> float:
    """What a setup is worth, in doublings of the size.

    Twice the size counts 1, or a quarter where objects are seen well already. Four times the width count 1, since a
    step's time grows with the square of the size and about as much with the width. Half of the passes that are wanted
    cost 2: a network that has seen too little finds nothing, whatever it could see. Pretrained weights are worth 2.
    """
    enough = setup.passes / wanted_passes(data.train * setup.windows, setup.network.pretrained)
    finer = math.log2(scale_of(data, setup) / wanted_scale(data)[0])  # than what shows objects well
    detail = finer if finer < 0 else 0.25 * finer
    wider = 0.5 * math.log2((setup.network.width or 16) / 16)
    return detail + wider + 2.0 * setup.network.pretrained + 2.0 * min(math.log2(enough), 0.0)


def scale_of(data: Fingerprint, setup: Setup) -> float:
    """The scale (of 1: as in the files) at which a setup sees pictures."""
    return setup.scale or max(setup.size) / data.long_side


def pass_seconds(data: Fingerprint, machine: Machine, setup: Setup) -> float:
    """The seconds in which each training picture, or a window of it, is seen once."""
    return setup.seconds * data.train / setup.batch / side_by_side(machine)


def validation_seconds(data: Fingerprint, machine: Machine, setup: Setup) -> float:
    """The seconds of a validation, on whole pictures."""
    pixels = setup.windows * setup.size[0] * setup.size[1]
    return data.val * machine.cost(setup.network).seen * pixels * LOADING / side_by_side(machine)


def passes_an_epoch(data: Fingerprint, machine: Machine, setup: Setup) -> int:
    """So many passes make an epoch that its validation takes a tenth of it at most, if that leaves ten epochs; and a
    batch at least."""
    wanted = validation_seconds(data, machine, setup) / VALIDATION / pass_seconds(data, machine, setup)
    return max(min(math.ceil(wanted), int(setup.passes * setup.windows / EPOCHS)), math.ceil(setup.batch / data.train))
