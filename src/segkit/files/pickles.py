"""What a checkpoint's pickle does, looked at before torch carries it out: the names it takes, what it calls with what,
and how much of it there is.

torch.load with weights_only runs a pickle's steps with a wide list of names: `bytearray` with any length, and any
number of containers. Here only those names are allowed that tensors and plain values need.
"""

import io
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MOST_STEPS = 1_000_000  # a checkpoint of 10 000 tensors has 250 000
MOST_LONG = 1000  # whole numbers of more than 32 bits: as keys they could be made to collide
MOST_BUILDS = 8  # a state_dict's _metadata is one
LONGEST_TUPLE = 64  # the sides of a tensor
BYTES = {
    "Double": 8,
    "Float": 4,
    "Half": 2,
    "BFloat16": 2,
    "Long": 8,
    "Int": 4,
    "Short": 2,
    "Char": 1,
    "Byte": 1,
    "Bool": 1,
    "ComplexFloat": 8,
    "ComplexDouble": 16,
}
STORAGES = {f"torch {name}Storage": size for name, size in BYTES.items()} | {"torch.storage UntypedStorage": 1}
DTYPES = {
    f"torch {name}"
    for name in (
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
        "complex64",
        "complex128",
    )
}
# What is called, and the fewest and most values that it gets.
CALLS = {
    "collections OrderedDict": (0, 0),
    "torch._utils _rebuild_tensor_v2": (6, 7),
    "torch._utils _rebuild_parameter": (3, 3),
    "torch Size": (1, 1),
    "torch device": (1, 2),
    "collections Counter": (1, 1),
}
NAMES = {*STORAGES, *DTYPES, *CALLS}


class Kind:
    """What a value is that a pickle has made and that is not looked into."""


DICT, LIST, ORDERED, TENSOR, STORAGE, OTHER, MARK = (Kind() for _ in range(7))
GIVES = {
    "collections OrderedDict": ORDERED,
    "torch._utils _rebuild_tensor_v2": TENSOR,
    "torch._utils _rebuild_parameter": TENSOR,
}
VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"}
CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "MARK": MARK,
    "EMPTY_DICT": DICT,
    "EMPTY_LIST": LIST,
    "EMPTY_TUPLE": (),
}


@dataclass(frozen=True)
class Name:
    """A name that a pickle asks for."""

    name: str


def check_archive_pickle(path: Path) -> None:
    """ValueError for a pickle in one of torch's archives that takes a name, makes a call or is of a size that no
    checkpoint needs. Torch finds it by its name, whatever the case: so there must be one alone."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        found = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(found) != 1 or len({name.casefold() for name in names}) < len(names):
            raise ValueError("it has not one pickle, or has several files of one name")
        check_pickle(io.BytesIO(archive.read(found[0])), path.stat().st_size)


def check_old_pickles(path: Path) -> None:
    """The same for a file of torch before 1.6: five pickles, then the numbers."""
    with path.open("rb") as file:
        for _ in range(5):
            check_pickle(file, path.stat().st_size)


def check_pickle(file: BinaryIO, most: int) -> None:
    """ValueError for what no checkpoint needs, up to the end of a pickle. most: bytes that its tensors may have."""
    machine, left = Machine(), {"LONG1": MOST_LONG, "BUILD": MOST_BUILDS}
    try:
        for step, (code, argument, _) in enumerate(pickletools.genops(file)):
            left[code.name] = left.get(code.name, MOST_STEPS) - 1
            if step > MOST_STEPS or left[code.name] < 0:
                raise ValueError("it has more parts than a checkpoint has")
            machine.do(code.name, argument)
    except (IndexError, KeyError, TypeError, UnicodeDecodeError):
        raise ValueError("its pickle is damaged") from None
    if sum(machine.claims.values()) > most:
        raise ValueError("its tensors claim more than the file has")


class Machine:
    """The stack of a pickle: plain values and tuples as they are, of the rest the kinds alone."""

    def __init__(self) -> None:
        self.stack, self.memo, self.claims = list[Any](), dict[int, Any](), dict[str, int]()

    def do(self, step: str, argument: Any) -> None:
        if step in VALUES:
            self.stack.append(argument)
        elif step in CONSTANTS:
            self.stack.append(CONSTANTS[step])
        elif step in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif step in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif step.startswith("TUPLE"):
            self.pack(self.marked() if step == "TUPLE" else self.taken(int(step[-1])))
        elif step in ("SETITEM", "SETITEMS"):
            self.set(self.taken(2) if step == "SETITEM" else self.marked())
        elif step in ("APPEND", "APPENDS"):
            self.append(self.taken(1) if step == "APPEND" else self.marked())
        elif step == "GLOBAL":
            self.name(argument)
        elif step == "REDUCE":
            self.call(*self.taken(2))
        elif step == "BINPERSID":
            self.storage(*self.taken(1))
        elif step == "BUILD":
            self.build(*self.taken(1))
        elif step not in ("PROTO", "STOP"):
            raise ValueError(f"its pickle has the step {step}, which no checkpoint needs")

    def taken(self, count: int) -> list[Any]:
        """The last values, which are taken away."""
        found = self.stack[-count:]
        if len(found) < count or any(one is MARK for one in found):
            raise IndexError
        del self.stack[-count:]
        return found

    def marked(self) -> list[Any]:
        """The values since the last mark."""
        found = []
        while (one := self.stack.pop()) is not MARK:
            found.append(one)
        return found[::-1]

    def pack(self, values: list[Any]) -> None:
        if len(values) > LONGEST_TUPLE:
            raise ValueError(f"it has a tuple of more than {LONGEST_TUPLE} values")
        self.stack.append(tuple(values))

    def name(self, found: str) -> None:
        if found not in NAMES:
            raise ValueError(
                f"it holds more than tensors and plain values ({found.replace(' ', '.')}), and nothing else is unpacked"
            )
        self.stack.append(Name(found))

    def call(self, called: Any, values: Any) -> None:
        name = called.name if isinstance(called, Name) else ""
        least, most = CALLS.get(name, (1, 0))
        if not isinstance(values, tuple) or not least <= len(values) <= most:
            raise ValueError(f"it calls {name.replace(' ', '.') or 'a value'} with what no checkpoint gives it")
        if name == "collections Counter" and values[0] is not DICT:  # the milestones of a schedule
            raise ValueError("it calls collections.Counter with what no checkpoint gives it")
        self.stack.append(GIVES.get(name, OTHER))

    def storage(self, found: Any) -> None:
        _, kind, key, _, count = found[:5]
        self.claims[str(key)] = count * STORAGES[kind.name if isinstance(kind, Name) else ""]
        self.stack.append(STORAGE)

    def build(self, state: Any) -> None:
        """What an OrderedDict has beside its values: `_metadata` of a network's."""
        if state is not DICT or self.stack[-1] is not ORDERED:
            raise TypeError

    def append(self, values: list[Any]) -> None:
        if self.stack[-1] is not LIST:
            raise TypeError

    def set(self, pairs: list[Any]) -> None:
        """Keys are plain: the hash of a tuple takes a stack as deep as what lies in it."""
        plain = all(isinstance(key, str | int | float | None) for key in pairs[::2])
        if not plain or len(pairs) % 2 or not (self.stack[-1] is DICT or self.stack[-1] is ORDERED):
            raise TypeError
