"""What a command prints: on the terminal, and in the run folder's train.log."""

import logging
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path

from segkit import console
from segkit.files.writing import DISK_FULL

log = logging.getLogger("segkit")

# Shown in every run, with nothing for the user to do about them.
IDLE_WARNINGS = (
    r".*does not have many workers.*",  # on two cores loading in the training process is faster
    r".*smaller than the logging interval.*",  # segkit's values are logged by epoch
    r".*torch\.jit\.trace.*is deprecated.*",  # Lightning's log_graph
    r".*Converting a tensor to a Python boolean.*",  # the graph is drawn for one size; padding is decided by it
    r".*module\(s\) in eval mode at the start of training.*",  # what freeze names
    r".*LeafSpec.*is deprecated.*",  # Lightning's own
    r".*Checkpoint directory .* exists and is not empty.*",  # a resumed run's own
)


def log_to(path: Path) -> logging.Handler:
    """Also write segkit's messages to this file, until the handler is removed."""
    handler = LogFile(path, delay=True)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    return handler


def report_thread(error: "threading.ExceptHookArgs") -> None:
    """Print an error from another thread, unless the disk is full: TensorBoard's writer raises that again in ours."""
    if not (isinstance(error.exc_value, OSError) and error.exc_value.errno in DISK_FULL):
        threading.__excepthook__(error)


class PrintableFormatter(logging.Formatter):
    """Text that is safe to show on a terminal as well."""

    def format(self, record: logging.LogRecord) -> str:
        return console.printable(super().format(record))


class LogFile(logging.FileHandler):
    """A log that stops when the disk is full; the code that writes the run's files reports it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):  # from flushing
            super().close()


def log_to_console() -> None:
    """Show segkit's messages on standard error, once per process, and Lightning's warnings without the known idle
    ones."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in IDLE_WARNINGS:
        warnings.filterwarnings("ignore", message)
    threading.excepthook = report_thread
    log.setLevel(logging.DEBUG)
    log.propagate = False  # Hydra would print it a second time
    if not any(isinstance(handler, Console) for handler in log.handlers):
        log.addHandler(Console(logging.INFO))
        as_text = warnings.formatwarning
        warnings.formatwarning = lambda *args, **kwargs: console.printable(as_text(*args, **kwargs))


class Console(logging.Handler):
    """Looks up standard error for every message: while a progress bar is shown, it prints above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        console.say(self.format(record), stderr=True)
