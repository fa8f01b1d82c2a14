"""Videos and streams, predicted frame by frame: a video with the masks over it, and a row for each frame."""

from collections.abc import Iterable, Iterator

from segkit import console
from segkit.configs.errors import explain
from segkit.configs.inputs import Input
from segkit.files.writing import DISK_FULL
from segkit.inference.journal import Journal, stamp_of
from segkit.inference.outputs import Outputs, Page, Row
from segkit.inference.pipeline import AT_ONCE, VALUES, Item, Room, run
from segkit.inference.predictor import Predictor
from segkit.inference.streams import LiveStream
from segkit.inference.videos import Frame, VideoFile, VideoWriter

VIDEOS = "videos"  # folder of annotated ones


def predict_video(one: Input, predictor: Predictor, outputs: Outputs, journal: Journal) -> None:
    """Predict the frames of a video, or of a stream until it ends. If that fails, what was done is kept, and a row has
    the error."""
    whole = Page(journal.folder, one.name, {})
    video: VideoWriter | None = None
    room = Room()

    def write(item: Item) -> Page:
        frame: Frame = item.key
        page = Page(journal.folder, f"{one.name}/{frame.number:06}", {"name": one.shown})
        page.row |= {"frame": frame.number, "time": round(frame.time, 3)}
        image, prediction = item.result()
        outputs.write(image, prediction, page)
        if video is not None:
            drawn = image if prediction.label is None else outputs.draw_overlay(image, prediction.label)
            video.write(drawn, frame.time)
        page.row["seconds"] = round(item.seconds, 4)
        return page

    def note(page: Page) -> None:
        more: Row = {} if page.objects is None else {"picture": f"{page.name}.png", "objects": page.objects}
        more |= {} if page.measured is None else {"measured": page.measured}
        journal.add(one.key, page.row, **more)
        whole.files.extend(page.files)

    is_live, is_whole = one.kind == "stream", False
    try:
        frames = LiveStream(one) if is_live else VideoFile(one.source)
        if outputs.settings["overlays"]:
            video = VideoWriter(whole.path(VIDEOS, ".mp4"), frames.rate)
        try:
            groups = group_frames(frames, len(predictor.classes), room, 1 if is_live else AT_ONCE)
            run(groups, predictor, write, note, room, writers=1, ahead=not is_live)
        finally:
            if video is not None:
                video.close()
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        console.say(f"{one.shown}: {explain(error)}", stderr=True)
        journal.add(one.key, {"name": one.shown, "error": explain(error)})
    else:
        is_whole = True
    finally:
        if is_whole or (is_live and whole.files):
            journal.add(one.key, {}, name=one.name, stamp=stamp_of(one.source), files=whole.files)


def group_frames(frames: Iterable[Frame], channels: int, room: Room, most: int) -> Iterator[list[Item]]:
    """Frames in groups that are predicted together; those before an error come before it."""
    group = list[Item]()
    try:
        for frame in frames:
            size = max(channels, 3) * frame.image.shape[0] * frame.image.shape[1]
            room.enter(size)
            group.append(Item(frame._replace(image=frame.image[:0]), size, frame.image))
            if len(group) == most or sum(item.size for item in group) + size > VALUES:
                yield group
                group = []
    except Exception:
        yield group
        raise
    yield group
