"""A launcher that runs every job in a process of its own, as those of joblib, Ray and clusters do."""

import os
import traceback
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, run_job
from hydra.plugins.launcher import Launcher
from omegaconf import open_dict


class Forking(Launcher):
    """lost: the number of a job that is never started. shot: of one whose process is killed before it has done
    anything."""

    def __init__(self, lost: int = -1, shot: int = -1) -> None:
        self.lost, self.shot = lost, shot

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        import segkit.training.fit  # noqa: F401  once, and not in every process

        done = []
        for number, words in enumerate(job_overrides, initial_job_idx):
            done.append(JobReturn(status=JobStatus.COMPLETED, _return_value=None))
            if number == self.lost:
                continue
            if child := os.fork():
                os.waitpid(child, 0)
                continue
            try:
                self._run(number, words)
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        return done

    def _run(self, number: int, words: Sequence[str]) -> None:
        config = self.context.config_loader.load_sweep_config(self.config, list(words))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        task = (lambda cfg: os._exit(9)) if number == self.shot else self.task
        run_job(
            hydra_context=self.context,
            task_function=task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
