"""The pickles of checkpoints, checked before torch executes them."""

import io
import pickle
import resource
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from segkit.files import pickles
from segkit.files.reading import read_checkpoint
from segkit.runs import checkpoint_io, pretrained


def with_pickle(path: Path, content: bytes) -> Path:
    """A torch archive with this pickle and the numbers of a tensor."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in (("data.pkl", content), ("version", b"3\n"), ("byteorder", b"little"), ("data/0", bytes(64))):
            archive.writestr(f"archive/{name}", part)
    return path


def in_lists(depth: int) -> list[Any]:
    """A list that is ten times in a list, and so on, in the bytes of one."""
    node: list[Any] = [0] * 10
    for _ in range(depth):
        node = [node] * 10
    return node


START = b"\x80\x02"
TUPLE_OF_80 = b"(" + b"K\1" * 80 + b"t"
BAD = {
    "bytearray": (b"cbuiltins\nbytearray\nJ\x00\x00\x00\x40\x85R", "builtins.bytearray"),
    "encode": (b"c_codecs\nencode\nX\1\0\0\0aX\5\0\0\0ascii\x86R", "_codecs.encode"),
    "counter": (b"ccollections\nCounter\n)R", "collections.Counter"),
    "set": (b"cbuiltins\nset\n]\x85R", "builtins.set"),
    "code": (b"cos\nsystem\nX\4\0\0\0true\x85R", "os.system"),
    "copies": (b"](K\1K\2eq\0ccollections\nOrderedDict\nh\0\x85R", "calls collections.OrderedDict with"),
    "a_value_called": (b"K\1)R", "calls a value with"),
    "newobj": (b"ccollections\nOrderedDict\n)\x81", "the step NEWOBJ"),
    "stack_global": (b"X\2\0\0\0osX\6\0\0\0system\x93", "the step STACK_GLOBAL"),
    "containers": (b"](" + b"}" * 1_000_001 + b"e", "more parts than a checkpoint has"),
    "longs": (b"](" + b"\x8a\5\1\1\1\1\1" * 1001 + b"e", "more parts than a checkpoint has"),
    "builds": (b"](" + b"ccollections\nOrderedDict\n)R}b" * 9 + b"e", "more parts than a checkpoint has"),
    "sides": (TUPLE_OF_80, "a tuple of more than 64 values"),
    "tuple_as_key": (b"}K\1\x85K\1s", "its pickle is damaged"),
    "nothing_there": (b"h\5", "its pickle is damaged"),
    "cut": (b"X\xff\0\0\0a", "pickle|expected"),
    "claim": (b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + b"0X\3\0\0\0cpuJ\xff\xff\xff\x7ftQ", "claim more"),
    "deep": (b"]" + b"]" * 40 + b"a" * 40, "holds a list|containers inside each other"),
    "deep_values": (b"}X\1\0\0\0a" + b"]" * 40 + b"a" * 39 + b"s", "containers inside each other"),
    "many_places": (pickle.dumps({"a": in_lists(6)}, 2)[2:-1], "more than 1000000 values"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_no_more_is_unpacked_than_a_checkpoint_needs(content: bytes, message: str, tmp_path: Path) -> None:
    path = with_pickle(tmp_path / "bad.ckpt", START + content + b".")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=rf"bad\.ckpt.*({message})"):
        read_checkpoint(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kilobytes; a GB was claimed


def test_a_file_of_weights_is_looked_at_too(tmp_path: Path) -> None:
    with_pickle(tmp_path / "bad.pth", START + BAD["bytearray"][0] + b".")
    with pytest.raises(ValueError, match=r"bad\.pth cannot be read as weights.*builtins\.bytearray"):
        pretrained.read_tensors(tmp_path / "bad.pth")
    torch.save({"a": torch.ones(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert pretrained.read_tensors(tmp_path / "old.pth")["a"].tolist() == [1, 1, 1]
    content = (tmp_path / "old.pth").read_bytes().replace(b"K\3N", b"J\xff\xff\xff\x7fN")  # of its length
    (tmp_path / "more.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"more\.pth cannot be read as weights.*claim more than the file has"):
        pretrained.read_tensors(tmp_path / "more.pth")


@pytest.mark.parametrize("names", [("a/data.pkl", "b/data.pkl"), ("a/data.pkl", "a/DATA.PKL"), ("a/b/data.pkl",)])
def test_there_is_one_pickle(names: tuple[str, ...], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.ckpt", "w") as archive:
        for name in names:
            archive.writestr(name, START + b"}.")
    with pytest.raises(ValueError, match=r"two\.ckpt .*it does not have exactly one pickle"):
        read_checkpoint(tmp_path / "two.ckpt")


def test_what_a_checkpoint_may_hold_is_read(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    kinds = [
        torch.zeros(2, dtype=kind)
        for kind in (
            torch.float64,
            torch.float16,
            torch.bfloat16,
            torch.int64,
            torch.int32,
            torch.int16,
            torch.int8,
            torch.uint8,
            torch.bool,
            torch.complex64,
        )
    ]
    plain = [
        None,
        True,
        1,
        2**40,
        0.5,
        "é",
        (1, ("a",)),
        {"a": [1], 2: {}},
        OrderedDict(a=1),
        torch.float32,
        torch.Size([2]),
        torch.device("cpu"),
        torch.nn.Parameter(torch.zeros(2)),
    ]
    torch.save(
        {"state_dict": net.state_dict(), "optimizer_states": [optimizer.state_dict()], "kinds": kinds, "plain": plain},
        tmp_path / "a.ckpt",
    )
    found: Any = read_checkpoint(tmp_path / "a.ckpt")
    assert found["plain"][:-1] == plain[:-1]
    state: Any = net.state_dict()
    assert found["state_dict"]._metadata == state._metadata


def damaged(change: Callable[[dict[str, Any]], None], path: Path) -> Path:
    checkpoint: dict[str, Any] = {
        "epoch": 0,
        "state_dict": {"a": torch.zeros(2)},
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}}],
    }
    change(checkpoint)
    path.parent.mkdir(parents=True)
    content = io.BytesIO()
    torch.save(checkpoint, content)
    path.write_bytes(content.getvalue())
    return path


def test_no_tensor_of_a_checkpoint_claims_more_than_the_file_has(tmp_path: Path) -> None:
    def moments(checkpoint: dict[str, Any]) -> None:
        checkpoint["optimizer_states"][0]["state"][0]["exp_avg"] = torch.zeros(1).expand(10**9)

    def shared(checkpoint: dict[str, Any]) -> None:
        whole = torch.zeros(1000)
        checkpoint["more"] = [whole.view(10, 100) for _ in range(50)]

    for number, change in enumerate((moments, shared)):
        path = damaged(change, tmp_path / str(number) / "checkpoints" / "last.ckpt")
        with pytest.raises(ValueError, match=r"its tensor \w+ claims more than the file has"):
            checkpoint_io.CheckpointFiles().load_checkpoint(path)


def test_it_takes_little_time() -> None:
    content = START + b"](" + b"}" * (pickles.MOST_STEPS - 10) + b"e."
    pickles.check_pickle(io.BytesIO(content), 0)
