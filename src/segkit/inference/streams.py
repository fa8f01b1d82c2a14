"""Cameras and streams: always the newest frame, and connected again when they break off."""

import sys
import threading
import time
from collections.abc import Iterator

import av
from av.container import InputContainer

from segkit import console
from segkit.configs.inputs import Input
from segkit.inference.videos import DEVICES, FORMATS, PROTOCOLS, SILENCE, Frame, as_image, decode

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds before connecting again, twice as long each time
GIVE_UP = 120.0  # seconds without a frame after which a stream has ended


class LiveStream:
    """The frames of a camera or stream as they come. What arrives while a frame is being predicted is left out, so that
    no delay builds up; numbers count all frames, times are seconds after the first.

    A thread reads. When the stream breaks off it connects again, more and more slowly; after `GIVE_UP` seconds without
    a frame the iteration ends in a ConnectionError.
    """

    rate = None  # frames come as they are predicted

    def __init__(self, one: Input) -> None:
        self._one, self._container = one, connect(one)
        self._newest: tuple[int, float, av.VideoFrame] | None = None
        self._count, self._begun, self._seen = 0, 0.0, time.monotonic()
        self._error: Exception | None = None
        self._changed, self._stopped = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._read, name="stream", daemon=True)

    def __iter__(self) -> Iterator[Frame]:
        self._thread.start()
        try:
            while True:
                with self._changed:
                    while self._newest is None and self._error is None:
                        self._changed.wait(0.2)  # a wait without end could not be interrupted everywhere
                    if self._newest is None:
                        raise self._error or ConnectionError(self._one.shown)
                    (number, seconds, frame), self._newest = self._newest, None
                yield Frame(number, seconds, as_image(frame))
        finally:
            self._stopped.set()

    def _read(self) -> None:
        wait = FIRST_WAIT
        while not self._stopped.is_set():
            before = self._count
            reason = self._read_connection()
            wait = FIRST_WAIT if self._count > before else min(2 * wait, LONGEST_WAIT)
            if self._stopped.is_set():
                return
            if time.monotonic() + wait - self._seen > GIVE_UP:
                self._fail(f"{self._one.shown}: the stream has ended ({reason}), and cannot be connected to again.")
                return
            console.say(f"{self._one.shown}: broken off ({reason}); connecting again in {wait:g} s", stderr=True)
            self._stopped.wait(wait)

    def _read_connection(self) -> str:
        """Read until the stream breaks off; returns why."""
        try:
            container, self._container = self._container or connect(self._one), None
            with container:
                for frame in decode(container):
                    if self._stopped.is_set():
                        return ""
                    self._put(frame)
            return "no more data"
        except (OSError, ValueError, LookupError, av.FFmpegError) as error:
            return explain(error, self._one)

    _container: InputContainer | None

    def _put(self, frame: av.VideoFrame) -> None:
        with self._changed:
            self._seen = time.monotonic()
            self._begun = self._begun or self._seen
            self._newest = (self._count, self._seen - self._begun, frame)
            self._count += 1
            self._changed.notify_all()

    def _fail(self, text: str) -> None:
        with self._changed:
            self._error = ConnectionError(text)
            self._changed.notify_all()


def connect(one: Input) -> InputContainer:
    """Open a camera or an address, and nothing that it refers to; ConnectionError if that does not work."""
    scheme, _, rest = one.source.partition(":")
    try:
        if scheme == "camera":
            if sys.platform not in DEVICES:
                raise ValueError("cameras are read on Linux and macOS; give the address of a stream instead")
            driver, name = DEVICES[sys.platform]
            container = av.open(name.format(rest), format=driver)
        else:
            protocols = PROTOCOLS.get(scheme.lower(), scheme.lower())
            options = {"protocol_whitelist": protocols, "format_whitelist": FORMATS, "rtsp_transport": "tcp"}
            container = av.open(one.source, options=options, timeout=SILENCE)
        if not container.streams.video:
            container.close()
            raise ValueError("it has no pictures")
    except (OSError, ValueError, LookupError, av.FFmpegError) as error:
        raise ConnectionError(
            f"input={one.shown}: no stream there ({explain(error, one)}). Expected a camera or a server of frames, "
            "such as rtsp://camera/live; playlists (.m3u8) are not followed."
        ) from error
    return container


def explain(error: Exception, one: Input) -> str:
    """An error's reason, without the password of an address."""
    return str(getattr(error, "strerror", None) or error).replace(one.source, one.shown)
