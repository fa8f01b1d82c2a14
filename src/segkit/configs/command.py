"""Console commands from functions of a config: how they fail, and what they leave behind."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from segkit import config_dir, console
from segkit.configs.combining import register_loss_parts
from segkit.configs.composing import expand_home, is_in_sweep
from segkit.configs.errors import Failure, explain
from segkit.configs.experiment_files import register_experiments
from segkit.configs.refusals import check_options, explain_refusal, read_config_dirs


def command(config_name: str, run: Callable[[DictConfig], Any]) -> Callable[[], Any]:
    """The console command that calls `run`. A failure ends with its message and exit code 1; a sweep goes on."""

    def job(cfg: DictConfig) -> Any:
        logging.getLogger("matplotlib").setLevel(logging.WARNING)  # its import logs that it builds its font cache
        try:
            return run(cfg)
        except Exception as error:
            console.say(f"\n{explain(error)}", stderr=True)
            remove_created_folders(job=HydraConfig.get().runtime.output_dir if is_in_sweep() else "")
            if is_in_sweep():  # the summary at the end of the sweep lists it and ends the command non-zero
                return Failure(explain(error))
            sys.exit(1)

    def main() -> None:
        sys.argv[1:] = map(expand_home, sys.argv[1:])
        if any(word.startswith("--") for word in sys.argv[1:]):
            check_options(sys.argv[1:])
        register_loss_parts(read_config_dirs(sys.argv[1:]))
        traced = os.environ.setdefault("HYDRA_FULL_ERROR", "") == "1"
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them
        try:
            sys.argv[1:] = register_experiments(sys.argv[1:])
            hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(job)()
        except KeyboardInterrupt:
            if traced:
                raise
            remove_created_folders()
            console.say("\nStopped by Ctrl-C.", stderr=True)
            sys.exit(130)
        except Exception as error:
            if traced:
                raise
            remove_created_folders(disposable=["multirun.yaml"])  # left by a grid that has not begun
            console.say("".join(f"\n{line}" for line in explain_refusal(error, sys.argv[1:], config_name)), stderr=True)
            sys.exit(1)

    return main


class Folders(Callback):
    """Remembers which folders Hydra creates for a command, before anything is known to work."""

    created: ClassVar[set[Path]] = set()  # of the output folder and its parents, those that did not exist

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._remember(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._remember(config.hydra.sweep.dir)

    def _remember(self, folder: str) -> None:
        path = Path(folder).absolute()
        with suppress(OSError):  # a name that is too long fails in Hydra, too
            self.created.update(one for one in (*path.parents, path) if not one.exists())


def remove_created_folders(disposable: Sequence[str] = (), job: str = "") -> None:
    """Remove the empty folders that were created for a command that failed. job: a grid job's folder, also removed.
    disposable: names of files that do not keep a folder from being removed."""
    mine = Folders.created | ({Path(job).absolute()} if job else set())
    for folder in sorted(mine, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):  # the command's own error matters, not its folder's
            if folder.is_dir() and {path.name for path in folder.iterdir()} <= {*disposable}:
                for name in disposable:
                    (folder / name).unlink(missing_ok=True)
                folder.rmdir()
