"""Pictures through decoding, network and writing, which overlap; in order, and in bounded memory."""

import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.inference.predictor import Prediction, Predictor

VALUES = 12_000_000  # of pictures and probabilities in a group, about 50 MB; a larger picture is a group of its own
GROUPS = 6  # so many of them at once: in memory, and so waiting or in work
AT_ONCE = 16  # pictures in a group


@dataclass
class Item:
    """A picture on its way. key: what it is, for those who write it. size: the room that it takes; seconds: of work."""

    key: Any
    size: int = 0
    image: NDArray[np.uint8] | None = None
    prediction: Prediction | None = None
    error: Exception | None = None
    seconds: float = 0.0

    def result(self) -> tuple[NDArray[np.uint8], Prediction]:
        """The picture and its prediction; raises the error that there is in their place."""
        if self.error is not None or self.image is None or self.prediction is None:
            raise self.error or RuntimeError("not predicted")
        return self.image, self.prediction


class Room:
    """Lets pictures in while there is room for their values; one at a time, however large, always fits."""

    def __init__(self, most: int = GROUPS * VALUES) -> None:
        self.most, self.used, self.closed = most, 0, False
        self._changed = threading.Condition()

    def enter(self, size: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.closed or not self.used or self.used + size <= self.most)
            self.used += size

    def leave(self, size: int) -> None:
        with self._changed:
            self.used -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody in, who then finds that all has ended."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()


def run(
    groups: Iterable[Sequence[Item]],
    predictor: Predictor,
    write: Callable[[Item], Any],
    note: Callable[[Any], None],
    room: Room,
    writers: int = 2,
    ahead: bool = True,
) -> None:
    """Predict groups of pictures, `write` each on one of several threads, and `note` what that returns, in order, on
    this thread. What has been predicted is written and noted even if this ends early, such as by Ctrl-C.

    room: the pictures' own, which they leave when they are written. ahead: get groups on a thread of their own, before
    they are needed. A failure is an item's error, except one of `write`, which ends everything.
    """
    waiting = deque[Future[Any]]()

    def finish(item: Item) -> Any:
        try:
            return write(item)
        finally:
            item.image = item.prediction = None
            room.leave(item.size)

    def settle(most: int) -> None:
        while waiting and (len(waiting) > most or waiting[0].done()):
            with holding_ctrl_c():
                note(waiting.popleft().result())

    with ThreadPoolExecutor(writers, thread_name_prefix="write") as pool:
        try:
            for group in look_ahead(groups) if ahead else groups:
                predict_group(predictor, group)
                waiting.extend(pool.submit(finish, item) for item in group)
                settle(AT_ONCE * writers if ahead else writers)
        finally:
            room.close()
            settle(0)


@contextmanager
def holding_ctrl_c() -> Iterator[None]:
    """Ctrl-C inside is heard at the end: nothing is noted by half."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = list[int]()
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if pressed:
        raise KeyboardInterrupt


def look_ahead(groups: Iterable[Sequence[Item]]) -> Iterator[Sequence[Item]]:
    """The groups, made on another thread one ahead of where they are needed."""
    made: queue.Queue[Sequence[Item] | BaseException | None] = queue.Queue(1)
    stopped = threading.Event()

    def put(what: Sequence[Item] | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return made.put(what, timeout=0.1)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for group in groups:
                put(group)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=make, name="read", daemon=True)
    thread.start()
    try:
        while (found := made.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        stopped.set()


def predict_group(predictor: Predictor, group: Sequence[Item]) -> None:
    """Fill in the predictions of pictures, or their errors."""
    there = [item for item in group if item.image is not None]
    if not there:
        return
    started = time.perf_counter()
    for item, found in zip(there, predict_each(predictor, [item.image for item in there]), strict=True):
        if isinstance(found, Exception):
            item.error = found
        else:
            item.prediction = found
        item.seconds += (time.perf_counter() - started) / len(there)


def predict_each(predictor: Predictor, images: list[Any]) -> list[Prediction | Exception]:
    """Predictions of pictures; if they fail together, of each alone, or its error."""
    try:
        return [*predictor(images)]
    except Exception as error:
        if len(images) == 1:
            return [error]
    return [found for image in images for found in predict_each(predictor, [image])]
