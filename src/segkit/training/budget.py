"""`budget=10m`: training that takes this long, validation included, with a schedule that ends when the time does."""

import copy
import logging
import math
import statistics
import sys
import time
from collections import deque
from typing import Any

import lightning
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from segkit.runs.build import Run

log = logging.getLogger("segkit")

WARM_UP, PROBED, VALIDATED = 2, 12, 4  # batches of the probe: untimed, timed, validation
CLOSED_FORM = (LambdaLR, OneCycleLR, CyclicLR)  # their rate depends on the step alone
PROBE_SHARE = 0.05  # of the budget, for the probe's timed steps at most
MEMORY = 0.98  # decay of the running mean of a step's seconds


class Budget(Callback):
    """Ends training `total` seconds after `started` (a time.perf_counter value).

    A probe times a step and a validation, and the schedule is laid out for the number of steps that follows. The times
    measured in training correct the plan at every step: each step takes an equal part of what is left of the schedule,
    and the last validation ends with the budget, to within one validation or a twentieth of an epoch, whichever is
    more. The last epoch may be cut short.
    """

    def __init__(self, total: float, started: float) -> None:
        self.total, self.started = total, started
        self.before = 0.0  # seconds used by the earlier sessions of a resumed run
        self.step, self.check = 0.0, 0.0  # seconds of a training step, and of a validation with its overhead
        self.checks: deque[float] = deque(maxlen=5)  # the most recent ones
        self.epochs = 1  # that the schedule is laid out for
        self.progress = 0.0  # of the schedule, 0 to 1
        self.batches = 1  # per epoch
        self.left, self.agreed = 1, 0  # steps left, and how many of them are agreed on
        self.marked = started  # when the last step ended
        self.validated = False  # since then
        self.paced: list[tuple[LRScheduler, int]] = []  # schedulers, and the total number of steps of each

    def used(self) -> float:
        """Seconds of the budget that are used up."""
        return self.before + time.perf_counter() - self.started

    def plan(self, run: Run) -> None:
        """Probe, and set the trainer's number of epochs."""
        if run.trainer.check_val_every_n_epoch != 1 or run.trainer.val_check_interval != 1.0:
            raise ValueError(
                "budget=… plans one validation an epoch: leave trainer.check_val_every_n_epoch and "
                "trainer.val_check_interval as they are."
            )
        self.step, self.check, self.batches = probe(run, self.total)
        left = self.total - self.used()
        if left < self.step + self.check:
            raise ValueError(
                f"budget={self.total:g}s is too short: a step takes {self.step:.2g} s and a validation "
                f"{self.check:.2g} s, after {self.used():.2g} s of probing. Give at least "
                f"{math.ceil(self.used() + self.step + self.check) + 1} s, or take a smaller network, dataset.size or "
                "validation split."
            )
        steps = self.steps_within(left, self.batches)
        self.epochs = -(-steps // self.batches)
        run.trainer.fit_loop.max_epochs = self.epochs  # the time, not this, ends the training
        log.info(
            "budget: about %.1f epochs in %.0f s, then testing %s; trainer.max_epochs does not count",
            steps / self.batches,
            self.total,
            describe_test(run, self.check),
        )

    def steps_within(self, left: float, rest: int) -> int:
        """How many steps `left` seconds allow, with `rest` steps of this epoch left to do."""
        if (after := left - rest * self.step - self.check) < 0:
            return max(int((left - self.check) / self.step), 0)
        whole, after = divmod(after, self.batches * self.step + self.check)
        part = int((after - self.check) / self.step)
        return rest + int(whole) * self.batches + (part if part > self.batches // 20 else 0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau):
                continue  # which follows the scores
            config.frequency = sys.maxsize  # stepped here instead
            self.paced.append((config.scheduler, self.length(config, trainer)))
        for scheduler, length in self.paced:
            done = int(self.progress * length)
            if scheduler.last_epoch > done and isinstance(scheduler, CLOSED_FORM):  # more time was given
                scheduler.last_epoch = done - 1
                scheduler.step()
        self.batches = int(trainer.num_training_batches)
        self.marked = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        if self.validated:
            self.checks.append(now - self.marked - self.step)
            self.check = statistics.median(self.checks)
        elif batch_idx > 0:
            self.step = MEMORY * self.step + (1 - MEMORY) * (now - self.marked)
        self.marked, self.validated = now, False
        rest = self.batches - batch_idx - 1
        self.left = self.steps_left(trainer, rest)
        self.progress += (1 - self.progress) / (self.left + 1)
        if self.left == 0:
            self.progress = 1.0
            end_epoch(trainer)
        for scheduler, length in self.paced:
            while scheduler.last_epoch < int(self.progress * length):
                scheduler.step()

    def steps_left(self, trainer: Trainer, rest: int) -> int:
        """How many steps follow. All processes take the first one's answer, or they would stop at different steps."""
        if trainer.world_size == 1:
            return self.steps_within(self.total - self.used(), rest)
        if self.agreed > 0:  # agreeing makes a device wait
            self.agreed -= 1
            return self.left - 1
        left: int = trainer.strategy.broadcast(self.steps_within(self.total - self.used(), rest))
        self.agreed = left // 10
        return left

    def length(self, config: LRSchedulerConfig, trainer: Trainer) -> int:
        """How many steps the scheduler takes in total."""
        if hasattr(config.scheduler, "total_steps"):  # one_cycle, also in a resumed run
            return int(config.scheduler.total_steps)
        return self.epochs * (-(-self.batches // trainer.accumulate_grad_batches) if config.interval == "step" else 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated = True
        if trainer.world_size == 1 and self.total - self.used() < self.step + self.check:
            trainer.should_stop, self.progress = True, 1.0  # the validation took longer than those before
        if not trainer.should_stop:
            trainer.fit_loop.max_epochs = trainer.current_epoch + 1 + -(-self.left // self.batches)

    def state_dict(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "used": self.used(),
            "step": self.step,
            "check": self.check,
            "epochs": self.epochs,
            "batches": self.batches,
            "progress": self.progress,
        }

    def resume(self, run: Run, checkpoint: dict[str, Any]) -> None:
        """Restore the state of earlier sessions from a checkpoint; the time they used is gone."""
        state = checkpoint["callbacks"][self.state_key]
        self.before, self.step, self.check = state["used"], state["step"], state["check"]
        self.batches = state["batches"]
        self.epochs = run.trainer.fit_loop.max_epochs = max(state["epochs"], checkpoint["epoch"] + 2)
        self.progress = min(state["progress"] * state["total"] / self.total, 1.0)  # more time: it rises again
        log.info("budget: %.0f s of %.0f are left", max(self.total - self.used(), 0), self.total)
        over = state["progress"] >= 1 and self.total <= state["total"]
        if over or self.total - self.used() < self.step + self.check:  # only the test is left
            run.trainer.fit_loop.max_epochs = checkpoint["epoch"] + 1


def describe_test(run: Run, validation: float) -> str:
    """Describe the final test: how many pictures, and how long it takes at the speed of a validation of that many
    seconds (0 if unknown)."""
    counts = {split: len(source) for split, source in run.data.sources.items()}
    if (most := run.scored_train) is not None:
        counts["train"] = min(counts["train"], most)
    total = sum(counts.values())
    return f"{total} pictures" + (
        f", about {format_duration(validation * total / counts['val'])}" if validation else ""
    )


def format_duration(seconds: float) -> str:
    """A rounded time for people: 8 s, 2 min, 1 h 10 min."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def end_epoch(trainer: Trainer) -> None:
    """Validate after this step and stop. Checkpoints must say that the epoch is over, or a run that is given more time
    would resume in the middle of it."""
    trainer.should_stop = True
    done, length = trainer.fit_loop.epoch_loop.batch_progress, int(trainer.num_training_batches)
    done.is_last_batch = True
    done.current.ready = done.current.started = done.current.processed = length  # type: ignore[attr-defined]
    done.current.completed = length - 1  # this step is counted after its hooks


def probe(run: Run, total: float) -> tuple[float, float, int]:
    """Measure the seconds of a training step and of a whole validation on a copy of the task; also returns steps per
    epoch."""
    own, clock = run.trainer, Clock(total * PROBE_SHARE)
    train = batches(len(run.data.train_dataloader()), own.limit_train_batches)
    val = batches(len(run.data.val_dataloader()), own.limit_val_batches)
    trainer = lightning.Trainer(
        accelerator=own.accelerator.name(),  # Lightning does not recognise a CPU from the object itself
        devices=1,
        precision=own.precision,
        max_epochs=1,
        limit_train_batches=min(WARM_UP + PROBED, train),
        limit_val_batches=min(VALIDATED, val),
        accumulate_grad_batches=own.accumulate_grad_batches,
        gradient_clip_val=own.gradient_clip_val,
        callbacks=[clock],
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(copy.deepcopy(run.task), datamodule=run.data)
    run.data.trainer = None  # its schedulers cannot be passed to spawned processes
    world = max(own.world_size, 1)
    return clock.step, clock.validation * val / world, max(train // world, 1)


def batches(length: int, limit: int | float) -> int:
    """How many batches Lightning takes from a loader: all, a number of them, or a share."""
    return max(int(length * limit) if isinstance(limit, float) else min(length, limit), 1)


class Clock(Callback):
    """Times steps and validation batches; ends training after `most` seconds."""

    def __init__(self, most: float) -> None:
        self.most = most
        self.steps: list[float] = []  # when training began, then when each step ended
        self.checks: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mark(self.steps, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._mark(self.steps, pl_module)
        if self.steps[-1] - self.steps[0] > self.most:
            trainer.should_stop = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mark(self.checks, pl_module)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._mark(self.checks, pl_module)

    def _mark(self, times: list[float], task: LightningModule) -> None:
        if task.device.type != "cpu":
            torch.accelerator.synchronize()
        times.append(time.perf_counter())

    @property
    def step(self) -> float:
        """Seconds of a step, without the warm-up if there were enough steps."""
        return mean_gap(self.steps, WARM_UP)

    @property
    def validation(self) -> float:
        """Seconds of a validation batch, without the first one, which sets the metrics up, if there were several."""
        return mean_gap(self.checks, 1)


def mean_gap(times: list[float], skipped: int) -> float:
    """The mean seconds between `times`, without the first `skipped` gaps if more follow them."""
    timed = times[skipped:] if len(times) > skipped + 1 else times
    return (timed[-1] - timed[0]) / max(len(timed) - 1, 1)
