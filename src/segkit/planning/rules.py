"""The rules of a plan: from a data set's fingerprint, a machine's costs and a setup to settings, each with its reason.

A rule is a function that gives a number and says why; `choose` puts them together.
"""

import math
from importlib.util import find_spec
from typing import NamedTuple

from segkit import VIEWS
from segkit.console import format_count
from segkit.planning.fingerprint import Fingerprint
from segkit.planning.machine import Machine, loss_words
from segkit.planning.setups import (
    FEW,
    LEAST_BATCH,
    ROOM,
    STEPPING,
    Setup,
    batch_size,
    passes_an_epoch,
    prediction_seconds,
    scale_of,
    side_by_side,
    wanted_passes,
    wanted_scale,
)

THIN = 10  # pixels of thickness, as the network sees them, below which centre lines are scored too
SHOWN = 0.33  # share of windows that must show an object


class Choice(NamedTuple):
    """Settings, as words of a command line, and why."""

    words: tuple[str, ...]
    why: str


def choose_size(data: Fingerprint, setup: Setup) -> Choice:
    """Whole pictures, or windows of them, a third of which show an object for certain (Isensee et al., 2021)."""
    (height, width), scale, (well, _) = setup.size, scale_of(data, setup), wanted_scale(data)
    words: tuple[str, ...] = (f"dataset.size=[{height},{width}]",)
    thick = f"at which objects are {scale * data.thick:.0f} pixels thick ({well:.2g} would show all of them well)"
    if not setup.scale:
        return Choice(words, f"{scale:.2g} of the pictures' typical size, {thick}")
    words += ("dataset.train=crop", "dataset.eval=native", f"dataset.scale={scale:.3g}", f"dataset.foreground={SHOWN}")
    return Choice(words, f"windows, as whole pictures would be too large; these are resized by {scale:.2g}, {thick}")


def choose_batch(data: Fingerprint, machine: Machine, setup: Setup) -> Choice:
    """What limits the batch: the pictures, the steps, memory, or batch norm."""
    views = data.train * setup.windows
    batch, largest = setup.batch, batch_size(views, machine.on_cpu, setup.network.pretrained)
    why = f"at most a tenth of {views:.0f} training {'windows' if setup.scale else 'pictures'}"
    if batch == LEAST_BATCH:
        why = "the least, for batch norm"
    elif batch == STEPPING < int(views / 10) and machine.on_cpu and not setup.network.pretrained:
        why = "from scratch, more steps teach more than larger batches"
    elif batch < largest:
        why = f"as many as half of the free memory holds, {ROOM * machine.memory / 2**30:.1f} GB"
    return Choice((f"dataset.batch_size={batch}",), why)


def choose_loss(data: Fingerprint) -> Choice:
    """Cross-entropy, which tells every pixel apart, with Dice over the batch, which does not let a rare class go."""
    return Choice(
        loss_words(data.classes), f"cross-entropy and Dice: the rarest class has {100 * data.rare:.2g} % of the pixels"
    )


def choose_light(setup: Setup) -> list[Choice]:
    """Each picture's own light and colour cast are taken out (Isensee et al., 2021): other days, cameras and lamps do
    not count, which few training pictures do not teach. A window's own are not its picture's, so they stay."""
    light = Choice(("model.standardise=true",), "each picture's own light and colour cast are taken out")
    return [] if setup.scale else [light]


def choose_prior(data: Fingerprint) -> Choice:
    """The last layer's bias starts from the classes' shares (Lin et al., 2017): otherwise a short training spends its
    first steps finding nothing."""
    shares = ",".join(f"{share:.2g}" for share in data.shares)
    return Choice((f"model.prior=[{shares}]",), "untrained, the network expects each class as often as it occurs")


def choose_epoch(data: Fingerprint) -> Choice:
    """The epoch with the best validation, or the last one, where so few pictures validate that the best is a matter of
    luck: averaged weights at the end of the schedule are good ones."""
    if data.val < FEW:
        few = format_count(data.val, "validation picture")
        return Choice(("monitor=epoch",), f"the last weights: {few} cannot tell epochs apart")
    return Choice(("monitor=val/iou",), "the epoch is chosen by the IoU over all pixels of validation")


def choose_centre_lines(data: Fingerprint, setup: Setup) -> list[Choice]:
    """The IoU of centre lines, where objects are so thin that a pixel at their borders decides the usual one; if
    scikit-image, which finds the lines, is installed."""
    thick = scale_of(data, setup) * data.thick
    if data.classes > 1 or not 0 < thick < THIN or find_spec("skimage") is None:
        return []
    return [Choice(("model.cliou=4",), f"objects are thin, {thick:.0f} pixels: their centre lines are scored too")]


def choose_devices(machine: Machine) -> list[Choice]:
    """All GPUs of a machine, each with a process of its own."""
    if machine.devices == 1:
        return []
    words = ("trainer=ddp", f"trainer.devices={machine.devices}")
    return [Choice(words, f"{machine.devices} GPUs, each on a batch of its own")]


def choose_augmentation(data: Fingerprint) -> Choice:
    """Flips and quarter turns where pictures have no direction; a little scale, rotation, brightness and colour."""
    if data.upright:
        why = "pictures are brighter in the same half, so they have a direction: mirrored, never turned upside down"
        return Choice(("augment=light", "augment.vertical=0", "augment.turns=false"), why)
    return Choice(("augment=light",), "pictures have no direction: flipped and turned")


def choose_views(data: Fingerprint, machine: Machine, setup: Setup, most: float) -> list[Choice]:
    """The most views of a picture that a prediction has time for, where its time is given: turned and flipped where
    pictures have no direction, else mirrored."""
    each = prediction_seconds(machine, setup.network, setup.size, setup.windows)
    ways = ("mirror",) if data.upright else ("d4", "flips", "mirror")
    fitting = [way for way in ways if VIEWS[way] * each <= most]
    if most == math.inf or not fitting:
        return []
    took = f"{VIEWS[fitting[0]]} views of a picture are averaged, in {1000 * VIEWS[fitting[0]] * each:.0f} ms"
    return [Choice((f"tta={fitting[0]}",), f"{took} of the {1000 * most:g} that a prediction may take")]


def choose_calibration(data: Fingerprint) -> list[Choice]:
    """Threshold, temperature and smallest object are chosen by validation, if enough pictures validate."""
    if data.val < FEW:
        return []
    chosen = "the threshold and the smallest object are chosen" if data.classes == 1 else "probabilities are calibrated"
    return [Choice(("calibrate=true",), f"{chosen} by validation")]


def choose_schedule(steps: int, pretrained: bool) -> list[Choice]:
    """One cycle of the learning rate with AdamW, and averaged weights with the memory of 3 % of the steps."""
    rate = 3e-3 if pretrained else 4e-3
    decay = 1 - 1 / max(0.03 * steps, 5)
    cycle = ("optimizer=adamw", f"optimizer.lr={rate:g}", "scheduler=one_cycle", "scheduler.scheduler.pct_start=0.05")
    average = ("callbacks=[default,ema]", f"callbacks.ema.decay={min(decay, 0.999):.3f}")
    return [
        Choice(cycle, "a warm-up of 5 % of the steps, then down to zero when the budget ends"),
        Choice(average, f"averaged weights are validated and kept; they remember about 3 % of {steps} steps"),
    ]


def choose(data: Fingerprint, machine: Machine, setup: Setup, prediction: float = math.inf) -> list[Choice]:
    """All choices for a setup. prediction: the seconds that one may take."""
    each = passes_an_epoch(data, machine, setup)
    steps = int(setup.passes * setup.windows * data.train / setup.batch / side_by_side(machine))
    wanted = wanted_passes(data.train * setup.windows, setup.network.pretrained)
    times = f"{setup.passes:.0f}" if setup.passes > 2 else f"{setup.passes:.2g}"
    seen = f"in all, every training picture is seen {times} times ({wanted:.0f} are wanted)"
    weights = "has ImageNet weights, which need the fewest pictures" if setup.network.pretrained else "from scratch"
    if prediction < math.inf:
        taken = 1000 * prediction_seconds(machine, setup.network, setup.size, setup.windows)
        weights += f"; it predicts a picture in {taken:.0f} of the {1000 * prediction:g} ms that it may take"
    return [
        Choice(setup.network.words, f"{setup.network.name}, {weights}"),
        choose_size(data, setup),
        choose_batch(data, machine, setup),
        Choice(
            (f"dataset.passes={each}",), f"{each} an epoch, so that validation takes about a tenth of the time; {seen}"
        ),
        choose_loss(data),
        *choose_light(setup),
        choose_prior(data),
        *choose_schedule(steps, setup.network.pretrained),
        *choose_devices(machine),
        choose_augmentation(data),
        choose_epoch(data),
        *choose_centre_lines(data, setup),
        *choose_calibration(data),
        *choose_views(data, machine, setup, prediction),
    ]
