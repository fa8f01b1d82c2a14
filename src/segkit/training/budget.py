"""`budget=10m`: a training that takes so long, validation included, and whose schedule ends when the time does."""

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

WARM_UP, PROBED, VALIDATED = 2, 12, 4  # batches of the probe: not timed, timed, of validation
CLOSED_FORM = (LambdaLR, OneCycleLR, CyclicLR)  # whose rate follows from the step alone
PROBE_SHARE = 0.05  # of the budget, the most that the probe's timed steps take
MEMORY = 0.98  # of the running mean of a step's seconds


class Budget(Callback):
    """Ends a training after `total` seconds, counted from `started` (of time.perf_counter).

    A probe says what a step and a validation take, and from that how many steps there will be: the schedule is laid out
    for them. What they really take corrects the plan at every step: the schedule is at the share of its way that the
    steps done are of those to come, and the last validation ends with the budget, to within one validation or a
    twentieth of an epoch, whichever is more. An epoch may end before its end.
    """

    def __init__(self, total: float, started: float) -> None:
        self.total, self.started = total, started
        self.before = 0.0  # used by the sessions that this one goes on from
        self.step, self.check = 0.0, 0.0  # seconds of a training step, and of a validation with what belongs to it
        self.checks: deque[float] = deque(maxlen=5)  # the last ones
        self.epochs = 1  # that the schedule is laid out for
        self.progress = 0.0  # of the schedule, 0 to 1
        self.batches = 1  # an epoch
        self.left, self.agreed = 1, 0  # steps to come, and for how many of them processes need not ask
        self.marked = started  # when the last step ended
        self.validated = False  # since then
        self.paced: list[tuple[LRScheduler, int]] = []  # schedulers, and how often each is stepped in all

    def used(self) -> float:
        """Seconds of the budget that are gone."""
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
        steps = self.to_come(left, self.batches)
        self.epochs = -(-steps // self.batches)
        run.trainer.fit_loop.max_epochs = self.epochs  # the time, not this, then ends the training
        log.info(
            "budget: about %.1f epochs in %.0f s, then testing %s; trainer.max_epochs does not count",
            steps / self.batches,
            self.total,
            test_ahead(run, self.check),
        )

    def to_come(self, left: float, rest: int) -> int:
        """How many steps `left` seconds allow, where `rest` of this epoch's are left to be done."""
        if (after := left - rest * self.step - self.check) < 0:
            return max(int((left - self.check) / self.step), 0)
        whole, after = divmod(after, self.batches * self.step + self.check)
        part = int((after - self.check) / self.step)
        return rest + int(whole) * self.batches + (part if part > self.batches // 20 else 0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau):
                continue  # that follows the scores
            config.frequency = sys.maxsize  # it is stepped here
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
        """How many steps follow; of several processes what the first says, or they would end at different ones."""
        if trainer.world_size == 1:
            return self.to_come(self.total - self.used(), rest)
        if self.agreed > 0:  # asking makes a device wait
            self.agreed -= 1
            return self.left - 1
        left: int = trainer.strategy.broadcast(self.to_come(self.total - self.used(), rest))
        self.agreed = left // 10
        return left

    def length(self, config: LRSchedulerConfig, trainer: Trainer) -> int:
        """How often the scheduler is stepped from its beginning to its end."""
        if hasattr(config.scheduler, "total_steps"):  # of one_cycle, also in a resumed run
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

    def go_on(self, run: Run, checkpoint: dict[str, Any]) -> None:
        """Take up what a checkpoint says of the sessions before: they leave less time."""
        state = checkpoint["callbacks"][self.state_key]
        self.before, self.step, self.check = state["used"], state["step"], state["check"]
        self.batches = state["batches"]
        self.epochs = run.trainer.fit_loop.max_epochs = max(state["epochs"], checkpoint["epoch"] + 2)
        self.progress = min(state["progress"] * state["total"] / self.total, 1.0)  # with more time it rises again
        log.info("budget: %.0f s of %.0f are left", max(self.total - self.used(), 0), self.total)
        over = state["progress"] >= 1 and self.total <= state["total"]
        if over or self.total - self.used() < self.step + self.check:  # only the test is left to be done
            run.trainer.fit_loop.max_epochs = checkpoint["epoch"] + 1


def test_ahead(run: Run, validation: float) -> str:
    """What the final test has to do, and how long it takes if a picture takes as long as in a validation of so many
    seconds (0 where that is not known)."""
    counts = {split: len(source) for split, source in run.data.sources.items()}
    total = sum(counts.values())
    return f"{total} pictures" + (f", about {roughly(validation * total / counts['val'])}" if validation else "")


def roughly(seconds: float) -> str:
    """A time as one would say it: 8 s, 2 min, 1 h 10 min."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def end_epoch(trainer: Trainer) -> None:
    """Validate after this step and stop. Checkpoints then say that the epoch is over, or a run that is given more time
    would go on in the middle of it."""
    trainer.should_stop = True
    done, length = trainer.fit_loop.epoch_loop.batch_progress, int(trainer.num_training_batches)
    done.is_last_batch = True
    done.current.ready = done.current.started = done.current.processed = length  # type: ignore[attr-defined]
    done.current.completed = length - 1  # this step, which is counted after its hooks


def probe(run: Run, total: float) -> tuple[float, float, int]:
    """Seconds of a training step and of a whole validation, and steps in an epoch; measured on a copy of the task."""
    own, clock = run.trainer, Clock(total * PROBE_SHARE)
    train = batches(len(run.data.train_dataloader()), own.limit_train_batches)
    val = batches(len(run.data.val_dataloader()), own.limit_val_batches)
    trainer = lightning.Trainer(
        accelerator=own.accelerator.name(),  # of the object itself Lightning does not see that it is a CPU
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
    run.data.trainer = None  # with schedulers that no spawned process can be given
    world = max(own.world_size, 1)
    return clock.step, clock.validation * val / world, max(train // world, 1)


def batches(length: int, limit: int | float) -> int:
    """How many batches Lightning takes of a loader: all, a number of them, or a share."""
    return max(int(length * limit) if isinstance(limit, float) else min(length, limit), 1)


class Clock(Callback):
    """Seconds of a step and of a batch of validation; ends a training that has taken `most` seconds."""

    def __init__(self, most: float) -> None:
        self.most = most
        self.steps: list[float] = []  # when each ended, and before them when the training began
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
        """Of the steps after the warm-up, where there were more."""
        return mean_gap(self.steps[WARM_UP:] if len(self.steps) > WARM_UP + 1 else self.steps)

    @property
    def validation(self) -> float:
        """Of a batch."""
        return mean_gap(self.checks)


def mean_gap(times: list[float]) -> float:
    return (times[-1] - times[0]) / max(len(times) - 1, 1)
