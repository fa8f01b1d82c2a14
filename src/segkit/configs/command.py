"""A function of a config as a console command: how it fails, and what it leaves behind."""

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
from segkit.configs.combining import offer_parts
from segkit.configs.composing import expand_home, in_sweep
from segkit.configs.errors import Failure, explain
from segkit.configs.refusals import check_options, own_folders, refusal


def command(config_name: str, run: Callable[[DictConfig], Any]) -> Callable[[], Any]:
    """The console command of `run`. A failure ends with its message and exit code 1; a sweep goes on."""

    def job(cfg: DictConfig) -> Any:
        logging.getLogger("matplotlib").setLevel(logging.WARNING)  # before its import, which tells of its font cache
        try:
            return run(cfg)
        except Exception as error:
            console.say(f"\n{explain(error)}", stderr=True)
            remove_made(job=HydraConfig.get().runtime.output_dir if in_sweep() else "")
            if in_sweep():  # the summary at the end of the sweep lists it and ends the command non-zero
                return Failure(explain(error))
            sys.exit(1)

    def main() -> None:
        sys.argv[1:] = map(expand_home, sys.argv[1:])
        if any(word.startswith("--") for word in sys.argv[1:]):
            check_options(sys.argv[1:])
        offer_parts(own_folders(sys.argv[1:]))
        traced = os.environ.setdefault("HYDRA_FULL_ERROR", "") == "1"
        os.environ["HYDRA_FULL_ERROR"] = "1"  # it then raises what is wrong with a command line, and prints nothing
        try:
            hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(job)()
        except Exception as error:
            if traced:
                raise
            remove_made(leaving=["multirun.yaml"])  # of a grid that has not begun
            console.say("".join(f"\n{line}" for line in refusal(error, sys.argv[1:], config_name)), stderr=True)
            sys.exit(1)

    return main


class Folders(Callback):
    """Remembers which folders Hydra makes for a command, before anything is known to work."""

    made: ClassVar[set[Path]] = set()  # those that were not there, of the output folder and what lies above it

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._remember(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._remember(config.hydra.sweep.dir)

    def _remember(self, folder: str) -> None:
        path = Path(folder).absolute()
        with suppress(OSError):  # of a name that is too long, which Hydra will meet
            self.made.update(one for one in (*path.parents, path) if not one.exists())


def remove_made(leaving: Sequence[str] = (), job: str = "") -> None:
    """Take away the empty folders that were made for a command that is refused; `job`: also that of a grid's job.
    leaving: files that may lie in them, which go too."""
    mine = Folders.made | ({Path(job).absolute()} if job else set())
    for folder in sorted(mine, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):  # what is wrong with the command is to be told, whatever becomes of its folder
            if folder.is_dir() and {path.name for path in folder.iterdir()} <= {*leaving}:
                for name in leaving:
                    (folder / name).unlink(missing_ok=True)
                folder.rmdir()
