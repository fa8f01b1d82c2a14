"""What is wrong with the files of a data set, gathered and told in one list instead of one a start."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

log = logging.getLogger("segkit")

MOST = 20  # findings of a list that are written out
LEAST = 5  # and of each kind, where there are many kinds


class Kind(NamedTuple):
    """A kind of finding: its name for one and for many, and the remedy, in which `{values}` stands for those found."""

    one: str
    many: str
    remedy: str


class Finding(NamedTuple):
    """One finding: a sentence that names its file, and values that the remedy is to name."""

    kind: Kind
    fact: str
    values: tuple[float, ...] = ()


class DataError(ValueError):
    """Files of a data set that cannot be used; as text the findings, each kind with its remedy."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__(*findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.args

    def __str__(self) -> str:
        # a data loader's worker hands an error over as its text
        return str(self.args[0]) if isinstance(self.args[0], str) else listed(self.args)


class Findings:
    """What was found so far: faults, which end in an error, and remarks, which are told."""

    def __init__(self) -> None:
        self.faults: dict[Finding, None] = {}
        self.remarks: dict[Finding, None] = {}

    def error(self) -> DataError:
        return DataError(*self.faults)


_open: ContextVar[Findings | None] = ContextVar("findings", default=None)


@contextmanager
def gathered() -> Iterator[Findings]:
    """Faults told inside are raised together at the end, and remarks are logged; inside another one, at its end."""
    outer = _open.get()
    if outer is not None:
        yield outer
        return
    found = Findings()
    token = _open.set(found)
    try:
        yield found
    except DataError as error:
        found.faults |= dict.fromkeys(error.findings)
    except Exception as error:
        if found.faults:  # of which this one is most likely a consequence
            raise found.error() from error
        raise
    finally:
        _open.reset(token)
    if found.remarks:
        log.warning("%s", listed(found.remarks))
    if found.faults:
        raise found.error()


def join(found: Findings) -> None:
    """Let what this thread finds be gathered there, too."""
    _open.set(found)


def tell(*faults: Finding) -> None:
    """A fault, for whoever gathers; DataError at once where nobody does."""
    found = _open.get()
    if found is None and faults:
        raise DataError(*faults)
    if found is not None:
        found.faults |= dict.fromkeys(faults)


def remark(kind: Kind, fact: str) -> None:
    """Something to be said that is no fault; where nobody gathers it has been said before."""
    found = _open.get()
    if found is not None:
        found.remarks[Finding(kind, fact)] = None


def listed(findings: Iterable[Finding]) -> str:
    """Findings by kind: the first of them, how many more there are, and the remedy. One alone is its sentence."""
    kinds: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: finding.fact):
        kinds.setdefault(finding.kind.many, []).append(finding)
    most = max(MOST // len(kinds), LEAST)
    if sum(map(len, kinds.values())) == 1:
        (only,) = next(iter(kinds.values()))
        return f"{only.fact}\n{remedy([only])}"
    parts = []
    for name, several in sorted(kinds.items()):
        count = len(several)
        lines = [f"{count} {several[0].kind.one if count == 1 else name}:"]
        lines += [f"  {finding.fact}" for finding in several[:most]]
        lines += [f"  … and {count - most} more"] if count > most else []
        parts.append("\n".join([*lines, remedy(several)]))
    total = sum(map(len, kinds.values()))
    return "\n".join([f"{total} findings in the data set:", *parts])


def remedy(findings: list[Finding]) -> str:
    """What to do about findings of one kind."""
    values = sorted({value for finding in findings for value in finding.values})
    return findings[0].kind.remedy.replace("{values}", ", ".join(f"{value:g}" for value in values))
