"""Command lines in the tests: a process forked from one that has imported everything, or one of its own.

Importing torch and Lightning takes seconds, and a test of a message needs none of their state. So the first command
starts a server that imports segkit and its libraries once, and forks for each command; the child runs the verb
as `python -m` would. The server has one thread and never computes, which makes forking safe.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, overload

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Imported beside segkit's own modules: what they import only where it is used.
LATE = (
    "albumentations",
    "fsspec.implementations.chained",
    "hydra._internal.logging_config",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "matplotlib.pyplot",
    "pygraphviz",
    "rich.progress",
    "rich.table",
    "scipy.stats",
    "tensorboard.plugins.hparams.plugin_data_pb2",
    "segmentation_models_pytorch",
    "torchview",
    "graphviz",
    "torch.utils.flop_counter",
    "torch.utils.serialization.config",
    "torch.utils.tensorboard",
    "torchvision.models",
    "lightning.pytorch.utilities.model_summary.model_summary",
    "torch._inductor.fx_passes",
)
FIRST_RUN = ("dataset.size=32", "dataset.counts=[4,2,2]", "model.net.widths=[4,8]", "trainer.max_epochs=1")


@dataclass
class Done(subprocess.CompletedProcess[str]):
    """How a command ended. `cpu`: seconds of it and its children; `memory`: their peak, in bytes; `events`: what
    `watch` has seen."""

    args: list[str]
    returncode: int
    stdout: str
    stderr: str
    cpu: float
    memory: int
    events: list[str]


@overload
def segkit(
    *words: str, cwd: Path = ..., module: str = ..., timeout: float = ..., alone: Literal[False] = ..., **more: Any
) -> Done: ...
@overload
def segkit(
    *words: str, cwd: Path = ..., module: str = ..., timeout: float = ..., alone: Literal[True], **more: Any
) -> subprocess.CompletedProcess[str]: ...
def segkit(
    *words: str, cwd: Path = Path(), module: str = "train", timeout: float = 240, alone: bool = False, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run `python -m segkit.<module>` as a person would; output as text.

    `alone`: in a process of its own, for start-up, several processes, or what only subprocess.run has (`more`).
    """
    if alone:
        return subprocess.run(
            [sys.executable, "-m", f"segkit.{module}", *words],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **more,
        )
    return fork(*words, cwd=cwd, module=module, timeout=timeout, **more)


def fork(
    *words: str,
    cwd: Path,
    module: str,
    timeout: float,
    env: dict[str, str] | None = None,
    watch: Sequence[str] = (),
    package: str = "segkit.",
    ctrl_c_after: str = "",
    longest_file: int | None = None,
) -> Done:
    """`segkit` in a child of the server. Past `timeout` seconds its whole process group is killed and
    subprocess.TimeoutExpired raised. `watch`: folders; note sockets, programs and writes elsewhere in
    `events`. `ctrl_c_after`: a text; interrupt the command when it stands in its standard error. `longest_file`:
    bytes past which a write fails, as on a full disk."""
    with tempfile.TemporaryDirectory(prefix="segkit-command-") as folder:
        files = {name: f"{folder}/{name}" for name in ("stdout", "stderr", "events")}
        for path in files.values():
            Path(path).touch()
        request = {
            "words": words,
            "cwd": str(Path(cwd).absolute()),
            "module": package + module,
            "watch": watch,
            "files": files,
            "env": dict(os.environ) if env is None else env,
            "longest_file": longest_file,
        }
        end = server().run(request, timeout, (Path(files["stderr"]), ctrl_c_after))
        said = {name: Path(path).read_text(errors="replace") for name, path in files.items()}
    if end is None:
        raise subprocess.TimeoutExpired([module, *words], timeout, said["stdout"], said["stderr"])
    code = os.waitstatus_to_exitcode(end["status"])
    return Done(
        [module, *words], code, said["stdout"], said["stderr"], end["cpu"], end["memory"], said["events"].splitlines()
    )


class Server:
    """The client's end of the warm process."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        environment = (
            os.environ
            | ONE_THREAD
            | {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}  # asking CUDA itself forbids forks
            | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # fewer pages to list anew in a fork
        )
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self.lines = self.socket.makefile("r")
        atexit.register(self.socket.close)  # the server ends when nobody is there to ask

    def run(self, request: dict[str, Any], timeout: float, ctrl_c: tuple[Path, str]) -> dict[str, Any] | None:
        """How the child ended, or None where it had to be killed. `ctrl_c`: a file, and the text in it after which the
        child is interrupted, if any."""
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        group = json.loads(self.lines.readline())["pid"]  # of the first command after some seconds of imports
        in_time = False
        last = time.monotonic() + timeout
        try:
            while ctrl_c[1] and time.monotonic() < last and not select.select([self.socket], [], [], 0.05)[0]:
                if ctrl_c[1] in ctrl_c[0].read_text(errors="replace"):
                    os.killpg(group, signal.SIGINT)
                    break
            in_time = bool(select.select([self.socket], [], [], max(last - time.monotonic(), 0))[0])
        finally:
            if not in_time:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
        end: dict[str, Any] = json.loads(self.lines.readline())
        return end if in_time else None


@cache
def server() -> Server:
    return Server()


def serve(channel: socket.socket) -> None:
    """Import everything, then fork for each request until the client is gone."""
    warm()
    for line in channel.makefile("r"):
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            channel.close()
            end_process(command(request))
        with contextlib.suppress(OSError):  # the child may have done it already
            os.setpgid(pid, pid)
        channel.sendall(json.dumps({"pid": pid}).encode() + b"\n")
        _, status, used = os.wait4(pid, 0)
        end = {"status": status, "cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss * 1024}
        channel.sendall(json.dumps(end).encode() + b"\n")


def quicken() -> None:
    """Compose configs in half the time: read YAML by LibYAML, and parse each interpolation once."""
    import yaml
    from omegaconf import base, grammar_parser

    yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    base.parse = cache(grammar_parser.parse)  # type: ignore[attr-defined]


def warm() -> None:
    import cv2
    import numpy as np

    import segkit

    quicken()
    sys.path.append(str(Path(__file__).parent / "plugins"))  # Hydra looks for its plugins once
    names = [module.name for module in pkgutil.walk_packages(segkit.__path__, "segkit.")]
    for name in [*names, *LATE]:
        with contextlib.suppress(ImportError):  # an extra that is not installed, as in the command itself
            importlib.import_module(name)
    from hydra.core.plugins import Plugins
    from PIL import Image

    from segkit.configs.composing import compose
    from segkit.configs.settings import check_settings
    from segkit.reporting.templates import read_template
    from segkit.train import train

    Plugins.instance()
    Image.init()
    # What is slow once: Hydra's parser, the signatures of what may be built, OpenCV's table of colours, a page, a run.
    check_settings(compose(), "train")
    cv2.cvtColor(np.zeros((1, 1, 3), np.uint8), cv2.COLOR_RGB2LAB)
    read_template("data_page.html.j2")
    cv2.setNumThreads(0)  # they would outlive the run
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        train(compose(*FIRST_RUN, f"run_dir={folder}/run"))
    cv2.setNumThreads(-1)
    tasks = Path("/proc/self/task")
    if tasks.is_dir() and len(list(tasks.iterdir())) > 1:
        raise RuntimeError("an import has started a thread, so this process cannot be forked")
    for library in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        library.atexit = False  # else each child takes torch's operators apart
    gc.collect()
    gc.freeze()  # else the children's collector copies every page that it looks at


def command(request: dict[str, Any]) -> int:
    """Be the command: its streams, environment, folder and arguments. Returns the exit code."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    if request["longest_file"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["longest_file"],) * 2)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request["files"][name], os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    tempfile.tempdir = None  # looked up again, in the new environment
    sys.path[0], sys.argv = request["cwd"], [request["module"], *request["words"]]
    if request["watch"]:
        Watch(request["watch"], os.open(request["files"]["events"], os.O_WRONLY))
    warnings.filterwarnings("ignore", "'segkit.* found in sys.modules", RuntimeWarning)
    skip_mode(request["words"])
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def skip_mode(words: Sequence[str]) -> None:
    """Hydra composes a config twice, first only to see whether a file in it asks for a sweep: in segkit an ablation."""
    from hydra._internal.hydra import Hydra

    if not any(word.startswith(("-", "ablation=", "hydra.mode", "hydra/")) for word in words):
        Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]


def end_process(code: int) -> None:
    """As the interpreter ends, less taking its modules apart."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


class Watch:
    """An audit hook that writes a line into a file for each socket, program and write outside of some folders."""

    PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn")
    OWN = (["uname", "-p"],)  # for a run's environment.json
    SOCKETS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.bind", "socket.sendto")
    CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
    WATCHED = frozenset((*PROGRAMS, *SOCKETS, *CHANGES, "open"))

    def __init__(self, folders: Sequence[str], file: int) -> None:
        self.folders, self.file = [f"{os.path.realpath(folder)}/" for folder in folders], file
        watched, note = self.WATCHED, self.note

        def hook(event: str, args: tuple[Any, ...]) -> None:  # called for each `id()`, too
            if event in watched:
                note(event, args)

        sys.addaudithook(hook)

    def note(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen" and args[1] in self.OWN:
            return
        if event in self.PROGRAMS:
            self.write("program", event, repr(args))
        elif event in self.SOCKETS:
            if not is_local(args):
                self.write("socket", event, repr(args))
        elif event != "open":
            for path in args[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
                if self.is_outside(path):
                    self.write("write", event, repr(path))
        elif args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and self.is_outside(args[0]):
            self.write("write", event, repr(args[0]))

    def is_outside(self, path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):  # a file that is open already
            return False
        real = os.path.realpath(os.fsdecode(path))
        if real.rpartition("/")[2].startswith(".coverage."):  # of `make coverage`
            return False
        return not f"{real}/".startswith((*self.folders, "/dev/", "/proc/"))

    def write(self, kind: str, event: str, what: str) -> None:
        os.write(self.file, f"{kind}: {event} {what}".replace("\n", " ").encode(errors="replace") + b"\n")


def is_local(args: tuple[Any, ...]) -> bool:
    """Whether the arguments of a socket's event are of one between processes of this machine alone."""
    return isinstance(args[0], socket.socket) and args[0].family == socket.AF_UNIX


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a command that is killed leaves no core file
    serve(socket.socket(fileno=int(sys.argv[1])))
