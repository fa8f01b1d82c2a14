"""Videos: their frames with times, turned as players show them; and a video written beside the predictions. PyAV is
imported by this module alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from segkit.console import format_count

USUAL = Fraction(25)  # frames a second of a video that does not say
TICKS = 90_000  # of a second, in which times are written
# What a file or server may be: containers of frames, but no lists that would have other addresses or files opened.
FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,mjpeg,mpjpeg,rtsp"
PROTOCOLS = {
    "rtsp": "rtsp,rtp,srtp,udp,tcp",
    "rtsps": "rtsp,rtsps,rtp,srtp,udp,tcp,tls",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tls,tcp",
    "http": "http,tcp",
    "https": "https,tls,tcp",
}  # of an address; others are their own
SILENCE = 10.0  # seconds for which a server may say nothing
DEVICES = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}")}  # of camera:0, by sys.platform
KEPT = 0.98  # of the frames that a file says it has; with fewer, it was cut off


class Frame(NamedTuple):
    """A frame of a video: its number, its time in seconds after the first, and its pixels (H, W, 3)."""

    number: int
    time: float
    image: NDArray[np.uint8]


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Whatever PyAV raises inside names the file."""
    try:
        yield
    except (OSError, LookupError, av.FFmpegError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"{path} cannot be read as a video ({why}): it is cut off, damaged or none.") from error


class VideoFile:
    """All frames of a file; ValueError if it is no video, and at its end if it was cut off. Damaged frames are left
    out. Whatever the file contains, no other file or address is opened. rate: frames a second, None if not known."""

    def __init__(self, path: str) -> None:
        self.path = path
        options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
        with naming(path):
            self._container = av.open(str(Path(path).absolute()), options=options)
        if not self._container.streams.video:
            self._container.close()
            raise ValueError(f"{path} has no pictures, only sound or text.")
        stream = self._container.streams.video[0]
        if getattr(stream, "codec_context", None) is None:  # older PyAV crashes on such
            self._container.close()
            raise ValueError(f"{path} does not say how it is coded: it is cut off or damaged, or of an unknown kind.")
        self.rate = stream.average_rate or stream.guessed_rate

    def __iter__(self) -> Iterator[Frame]:
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        count, begins = 0, 0.0
        with self._container, naming(self.path):
            for frame in decode(self._container):
                begins = begins if count else frame.time or 0.0
                at = count / float(self.rate or USUAL) if frame.time is None else frame.time - begins
                yield Frame(count, at, as_image(frame))
                count += 1
        if count < max(KEPT * stream.frames, 1):
            whole = f"{count} of its {stream.frames} frames" if stream.frames else format_count(count, "frame")
            raise ValueError(f"{self.path} ends after {whole}: it is cut off.")


def decode(container: InputContainer) -> Iterator[av.VideoFrame]:
    """The frames of a container's first video, without those that cannot be decoded."""
    for packet in container.demux(container.streams.video[0]):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def as_image(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A frame's pixels (H, W, 3), turned as players do."""
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


class VideoWriter:
    """A video of H.264 in MP4, whose frames keep their times; playable whenever writing ends."""

    def __init__(self, path: Path, rate: Fraction | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # in fragments until it is closed, so that it can be played even after a crash
        self._container = av.open(
            str(path), "w", format="mp4", options={"movflags": "+hybrid_fragmented", "flush_packets": "1"}
        )
        self._rate, self._last, self._size = rate or USUAL, -1, (0, 0)
        self._stream: Any = None

    def write(self, image: NDArray[np.uint8], seconds: float) -> None:
        """Add a frame (H, W, 3) with its time. It is padded to even sides, and brought to the size of the first."""
        height, width = image.shape[:2]
        even: Any = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if self._stream is None:
            self._begin(even.shape[0], even.shape[1])
        if even.shape[:2] != self._size:
            even = cv2.resize(even, self._size[::-1], interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(even, "rgb24")
        self._last = frame.pts = max(round(seconds * TICKS), self._last + 1)
        frame.time_base = Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))

    def _begin(self, height: int, width: int) -> None:
        self._size = (height, width)
        options = {"preset": "veryfast", "crf": "20", "bf": "0"}  # frames in their order, which begin at 0
        self._stream = self._container.add_stream("libx264", rate=self._rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._stream.codec_context.gop_size = max(round(2 * self._rate), 1)  # a key frame each 2 seconds

    def close(self) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
