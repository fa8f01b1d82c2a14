"""Checks of a checkpoint's pickle before torch executes it: the names it uses, its calls and their arguments, and its
size.

torch.load with weights_only allows a pickle many names, such as `bytearray` of any length, and any number of
containers. Here only the names that tensors and plain values need are allowed.
"""

import io
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MOST_STEPS = 1_000_000  # a checkpoint of 10 000 tensors has 250 000
MOST_LONG = 1000  # integers of more than 32 bits: as keys they could be made to collide
MOST_BUILDS = 8  # BUILD steps; a state_dict's _metadata needs one
LONGEST_TUPLE = 64  # such as a tensor's shape
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
# The callables, and the fewest and most arguments that each gets.
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
    """The kind of a value on the stack whose content is not tracked."""


DICT, LIST, ORDERED, TENSOR, STORAGE, OTHER, MARK = (Kind() for _ in range(7))
RESULTS = {
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
    """ValueError for a pickle in a torch archive with a name, a call or a size that no checkpoint needs. Torch finds
    the pickle by its name, ignoring case, so there must be only one."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        found = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(found) != 1 or len({name.casefold() for name in names}) < len(names):
            raise ValueError("it does not have exactly one pickle, or has several files of one name")
        check_pickle(io.BytesIO(archive.read(found[0])), path.stat().st_size)


def check_old_pickles(path: Path) -> None:
    """The same for a file from torch before 1.6: five pickles, then the numbers."""
    with path.open("rb") as file:
        for _ in range(5):
            check_pickle(file, path.stat().st_size)


def check_pickle(file: BinaryIO, most: int) -> None:
    """ValueError for anything in a pickle that no checkpoint needs. most: bytes that its tensors may have."""
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
    """The stack of a pickle: plain values and tuples as they are, of other values only their kinds."""

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
            self.pack(self.pop_to_mark() if step == "TUPLE" else self.pop(int(step[-1])))
        elif step in ("SETITEM", "SETITEMS"):
            self.set(self.pop(2) if step == "SETITEM" else self.pop_to_mark())
        elif step in ("APPEND", "APPENDS"):
            self.append(self.pop(1) if step == "APPEND" else self.pop_to_mark())
        elif step == "GLOBAL":
            self.name(argument)
        elif step == "REDUCE":
            self.call(*self.pop(2))
        elif step == "BINPERSID":
            self.storage(*self.pop(1))
        elif step == "BUILD":
            self.build(*self.pop(1))
        elif step not in ("PROTO", "STOP"):
            raise ValueError(f"its pickle has the step {step}, which no checkpoint needs")

    def pop(self, count: int) -> list[Any]:
        """Remove the last values from the stack and return them."""
        found = self.stack[-count:]
        if len(found) < count or any(one is MARK for one in found):
            raise IndexError
        del self.stack[-count:]
        return found

    def pop_to_mark(self) -> list[Any]:
        """Remove the values since the last mark from the stack and return them."""
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
            raise ValueError(f"it calls {name.replace(' ', '.') or 'a value'} with arguments that no checkpoint has")
        if name == "collections Counter" and values[0] is not DICT:  # the milestones of a schedule
            raise ValueError("it calls collections.Counter with arguments that no checkpoint has")
        self.stack.append(RESULTS.get(name, OTHER))

    def storage(self, found: Any) -> None:
        _, kind, key, _, count = found[:5]
        self.claims[str(key)] = count * STORAGES[kind.name if isinstance(kind, Name) else ""]
        self.stack.append(STORAGE)

    def build(self, state: Any) -> None:
        """Attributes of an OrderedDict, such as the `_metadata` of a state_dict."""
        if state is not DICT or self.stack[-1] is not ORDERED:
            raise TypeError

    def append(self, values: list[Any]) -> None:
        if self.stack[-1] is not LIST:
            raise TypeError

    def set(self, pairs: list[Any]) -> None:
        """Only plain keys: hashing a nested tuple recurses as deep as it is nested."""
        plain = all(isinstance(key, str | int | float | None) for key in pairs[::2])
        if not plain or len(pairs) % 2 or not (self.stack[-1] is DICT or self.stack[-1] is ORDERED):
            raise TypeError
