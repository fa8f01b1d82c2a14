"""Videos: frames with their times, turned as players do; a video of masks; a stream that breaks off."""

import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from conftest import disc, read_picture, segkit

from segkit.configs.composing import compose
from segkit.configs.inputs import Input, check_extra
from segkit.files.tables import read_rows
from segkit.inference import streams
from segkit.inference.streams import LiveStream
from segkit.inference.videos import VideoFile, VideoWriter
from segkit.predict import predict

SIZE = (48, 64)


def shade(number: int) -> np.ndarray:
    """A frame that its number can be read from, dark at the top."""
    frame = np.full((*SIZE, 3), 40 + 10 * number, np.uint8)
    frame[:8] = 0
    return frame


def make(path: Path, times: list[float], container: str = "mp4", size: tuple[int, int] = SIZE) -> Path:
    """A video written by PyAV itself."""
    with av.open(str(path), "w", format=container) as video:
        stream = video.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, at in enumerate(times):
            pixels: Any = cv2.resize(shade(number), size[::-1])
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = round(1000 * at), Fraction(1, 1000)
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    return path


EVEN = [number / 10 for number in range(20)]
UNEVEN = [round(0.1 * number + 0.007 * number**2, 3) for number in range(20)]


def read_back(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as video:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in video.decode(video=0)]


def test_times_of_a_variable_rate_are_kept(tmp_path: Path) -> None:
    frames = list(VideoFile(str(make(tmp_path / "a.mp4", UNEVEN))))
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.time for frame in frames] == pytest.approx(UNEVEN, abs=2e-3)
    for frame in frames:
        assert abs(float(frame.image[20:].mean()) - (40 + 10 * frame.number)) < 8
    writer = VideoWriter(tmp_path / "b" / "b.mp4", None)
    for frame in frames:
        writer.write(frame.image[:47, :63], frame.time)  # H.264 has even sides
    writer.close()
    again = read_back(tmp_path / "b" / "b.mp4")
    assert [at for at, _ in again] == pytest.approx(UNEVEN, abs=2e-3)
    assert again[0][1].shape == (48, 64, 3)
    assert abs(float(again[7][1][20:].mean()) - 110) < 8


def test_a_video_that_was_not_closed_can_be_played(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", Fraction(10))
    for number in range(60):
        writer.write(np.random.default_rng(number).integers(0, 255, (*SIZE, 3), dtype=np.uint8), number / 10)
    (tmp_path / "killed.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    writer.close()
    assert len(read_back(tmp_path / "a.mp4")) == 60
    assert len(read_back(tmp_path / "killed.mp4")) >= 20


def turn_header(path: Path) -> None:
    """Let a file say what those of phones held upright do: to be turned clockwise by a quarter."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # version, times, …; then the matrix
    content[at : at + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, SIZE[0] << 16, 0, 1 << 30)
    path.write_bytes(content)


def test_frames_are_turned_as_players_do(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", EVEN[:3])
    turn_header(path)
    image = next(iter(VideoFile(str(path)))).image
    assert image.shape == (64, 48, 3)
    assert image[:, 42:].mean() < 10 < 35 < image[:, :38].mean()  # what was at the top is at the right


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def moov_first(path: Path) -> Path:
    """The same video with its index at the front, so that one that is cut off can be opened."""
    with (
        av.open(str(path)) as video,
        av.open(str(path.with_name("f.mp4")), "w", options={"movflags": "faststart"}) as to,
    ):
        stream = to.add_stream_from_template(video.streams.video[0])
        for packet in video.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                to.mux(packet)
    return path.with_name("f.mp4")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"", r"a\.mp4 cannot be read as a video"),
        ("a.avi", b"no video at all" * 99, r"a\.avi cannot be read as a video"),
        ("a.mp4", b"ffconcat version 1.0\nfile other.mp4\n", r"a\.mp4 cannot be read as a video"),
        (
            "a.ts",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.ts\n#EXT-X-ENDLIST\n",
            "cannot be read as a video",
        ),
    ],
)
def test_what_is_no_video_is_named_and_opens_nothing(
    tmp_path: Path, name: str, content: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "other.mp4", EVEN)
    make(tmp_path / "other.ts", EVEN, "mpegts")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(VideoFile(name))


def test_a_video_without_its_end_is_done_as_far_as_it_goes(tmp_path: Path, tiny_run: Path) -> None:
    path = moov_first(make(tmp_path / "a.mp4", EVEN))
    whole = len(path.read_bytes())
    path.write_bytes(path.read_bytes()[: whole * 3 // 4])
    good = make(tmp_path / "good.mp4", UNEVEN)
    done = segkit(f"run={tiny_run}", "input=[f.mp4,good.mp4]", "output=out", cwd=tmp_path, module="predict")
    assert done.returncode == 1
    assert "of its 20 frames: it is cut off" in done.stderr
    assert "frames of 2 videos predicted; in out: videos, predictions.csv" in done.stdout
    rows = read_rows(tmp_path / "out" / "predictions.csv")
    frames = [row for row in rows if row["name"] == "good.mp4"]
    assert [float(row["time"]) for row in frames] == pytest.approx(UNEVEN, abs=2e-3)
    assert [int(row["frame"]) for row in frames] == list(range(20))
    assert {"area/crack", "confidence"} <= rows[0].keys()
    assert 0 < sum(row["name"] == "f.mp4" and row["frame"] != "" for row in rows) < 20
    assert [at for at, _ in read_back(tmp_path / "out" / "videos" / "good.mp4")] == pytest.approx(UNEVEN, abs=2e-3)
    assert len(read_back(tmp_path / "out" / "videos" / "f.mp4")) > 0
    stamp = (tmp_path / "out" / "videos" / "good.mp4").stat().st_mtime_ns
    good.touch()  # another time of change: it is done again
    words = (f"run={tiny_run}", f"input={good}", f"output={tmp_path}/out")
    assert len(predict(compose(*words, config="predict"))) == 20
    again = (tmp_path / "out" / "videos" / "good.mp4").stat().st_mtime_ns
    assert again > stamp
    predict(compose(*words, config="predict"))
    assert (tmp_path / "out" / "videos" / "good.mp4").stat().st_mtime_ns == again


def test_masks_of_frames_if_they_are_asked_for(tmp_path: Path, tiny_run: Path) -> None:
    make(tmp_path / "a b.mp4", EVEN[:3])
    words = [f"run={tiny_run}", f"input='{tmp_path}/a b.mp4'", f"output={tmp_path}/out"]
    rows = predict(compose(*words, "masks=numbers", "overlays=false", config="predict"))
    assert [row["mask"] for row in rows] == [f"masks/a b/00000{number}.png" for number in range(3)]
    assert read_picture(tmp_path / "out" / rows[2]["mask"], 0).shape == SIZE
    assert not (tmp_path / "out" / "videos").exists()


Serve = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[list[bytes]], int]]:
    """Start a server on this machine that sends each part to a connection of its own, as a camera would, and then is
    gone; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def send(parts: list[bytes]) -> None:
        for part in parts:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
                step = len(part) // 10 + 1
                for start in range(0, len(part), step):
                    connection.sendall(part[start : start + step])
                    time.sleep(0.02)
        listener.close()

    def start(parts: list[bytes]) -> int:
        threading.Thread(target=send, args=(parts,), daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    listener.close()


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("FIRST_WAIT", 0.1), ("GIVE_UP", 1.0)):
        monkeypatch.setattr(streams, name, seconds)


def test_a_stream_that_breaks_off_goes_on(
    tmp_path: Path,
    tiny_run: Path,
    serve: Callable[[list[bytes]], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    quick(monkeypatch)
    content = make(tmp_path / "a.ts", EVEN, "mpegts").read_bytes()
    port = serve([content[: len(content) // 2], content])
    words = [f"run={tiny_run}", f"input='http://me:secret@127.0.0.1:{port}/live'", f"output={tmp_path}/out"]
    with pytest.raises(ValueError, match="1 input could not be read: http://127"):
        predict(compose(*words, config="predict"))
    said = capsys.readouterr().err
    assert f"http://127.0.0.1:{port}/live: broken off" in said
    assert "connecting again in 0.1 s" in said
    assert "the stream has ended" in said
    rows = [row for row in read_rows(tmp_path / "out" / "predictions.csv") if row["frame"]]
    assert rows
    times = [float(row["time"]) for row in rows]
    assert times == sorted(times)
    (video,) = (tmp_path / "out" / "videos").iterdir()
    assert video.name == "127_0_0_1_live.mp4"
    assert len(read_back(video)) == len(rows)
    written = "".join(path.read_text() for path in (tmp_path / "out").glob("*.csv")) + said
    assert "secret" not in written + (tmp_path / "out" / ".predictions.jsonl").read_text()
    with pytest.raises(ValueError, match=r"has what http://127.*showed before"):
        predict(compose(*words, config="predict"))


def test_a_slow_reader_gets_the_newest_frame(
    tmp_path: Path, serve: Callable[[list[bytes]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    port = serve([make(tmp_path / "a.ts", EVEN, "mpegts").read_bytes()])
    numbers: list[int] = []

    def look() -> None:
        for frame in LiveStream(Input(f"http://127.0.0.1:{port}/", "a", "a", "stream")):
            numbers.append(frame.number)
            time.sleep(0.1)

    with pytest.raises(ConnectionError, match="the stream has ended"):
        look()
    assert numbers == sorted(set(numbers))
    assert len(numbers) < 15
    assert numbers[-1] == 19


def test_nobody_listens(tmp_path: Path, tiny_run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = (f"run={tiny_run}", f"input=http://127.0.0.1:{port}/x", "output=out")
    done = segkit(*words, cwd=tmp_path, module="predict")
    assert done.returncode == 1
    assert f"http://127.0.0.1:{port}/x: no stream there (Connection refused)" in done.stderr


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for source in ("a.mp4", "rtsp://me:secret@x/y", "camera:0"):
        with pytest.raises(ValueError, match=r"need PyAV: pip install 'segkit\[video\]'") as found:
            check_extra(["a.png", source])
        assert "secret" not in str(found.value)
    check_extra(["a.png"])


def test_ctrl_c_ends_a_video_that_can_be_played(tmp_path: Path, tiny_run: Path) -> None:
    writer: Any = VideoWriter(tmp_path / "long.mp4", Fraction(25))
    for number in range(1500):
        writer.write(disc((64, 96), number % 7)[0], number / 25)
    writer.close()
    (tmp_path / "0.png").write_bytes(b"broken")  # is told just before the video begins
    words = (f"run={tiny_run}", "input=[0.png,long.mp4]", "output=out")
    done = segkit(*words, cwd=tmp_path, module="predict", ctrl_c_after="0.png")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    if (tmp_path / "out" / "videos" / "long.mp4").exists():
        frames = len(read_back(tmp_path / "out" / "videos" / "long.mp4"))
        rows = [row for row in read_rows(tmp_path / "out" / "predictions.csv") if row.get("frame")]
        assert frames == len(rows) < 1500
