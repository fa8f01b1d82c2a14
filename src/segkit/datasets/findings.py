"""What is wrong with a data set's files, gathered into one list instead of one error per attempt."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from segkit.console import one_line

log = logging.getLogger("segkit")

MOST = 20  # findings written out in a list
LEAST = 5  # findings written out of each kind, however many kinds there are


class Kind(NamedTuple):
    """A kind of finding: its name in singular and plural, and the remedy.

    suggest: the settings to type, from the values of all findings of this kind; "" for none.
    """

    one: str
    many: str
    remedy: str
    suggest: Callable[[Sequence[float]], str] | None = None


class Finding(NamedTuple):
    """One finding: a sentence, the values for the remedy, and the files that it is about."""

    kind: Kind
    fact: str
    values: tuple[float, ...] = ()
    files: tuple[Path, ...] = ()


class DataError(ValueError):
    """Data set files that cannot be used. Its text lists the findings, each kind with its remedy."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__(*findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.args

    def __str__(self) -> str:
        # a data loader's worker passes an error on as text
        return str(self.args[0]) if isinstance(self.args[0], str) else format_findings(self.args)


class Findings:
    """What was found so far: faults, which end in an error, and remarks, which are logged. repairs: what was done to
    which file in memory; None where faults are not repaired."""

    def __init__(self, repair: bool = False) -> None:
        self.faults: dict[Finding, None] = {}
        self.remarks: dict[Finding, None] = {}
        self.repairs: dict[str, str] | None = {} if repair else None

    def error(self) -> DataError:
        return DataError(*self.faults)


_open: ContextVar[Findings | None] = ContextVar("findings", default=None)


@contextmanager
def gather_findings() -> Iterator[Findings]:
    """Raise the faults reported inside together at the end, and log the remarks; a nested call leaves both to the outer
    one."""
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
        if found.faults:  # they most likely caused this error
            raise found.error() from error
        raise
    finally:
        _open.reset(token)
    if found.remarks:
        log.warning("%s", format_findings(found.remarks))
    if found.faults:
        raise found.error()


@contextmanager
def collect_findings(repair: bool = False) -> Iterator[Findings]:
    """Collect what is reported inside, for a caller that judges it: nothing is raised or logged, and an outer
    `gather_findings` does not hear of it. repair: what can be repaired while reading, is (see `can_repair`)."""
    found = Findings(repair)
    token = _open.set(found)
    try:
        yield found
    except Exception as error:
        if found.faults and not isinstance(error, DataError):  # they most likely caused this error
            raise found.error() from error
        raise
    finally:
        _open.reset(token)


def gather_into(found: Findings) -> None:
    """Gather this thread's findings there, too."""
    _open.set(found)


def report_faults(*faults: Finding) -> None:
    """Add faults to those being gathered; DataError at once outside of `gather_findings`."""
    found = _open.get()
    if found is None and faults:
        raise DataError(*faults)
    if found is not None:
        found.faults |= dict.fromkeys(faults)


def add_remark(kind: Kind, fact: str, values: tuple[float, ...] = (), files: tuple[Path, ...] = ()) -> None:
    """Add a remark, which is no fault; ignored outside of `gather_findings`, where it has been logged before."""
    found = _open.get()
    if found is not None:
        found.remarks[Finding(kind, fact, values, files)] = None


def can_repair(fault: Finding, file: object, done: str) -> bool:
    """Whether to repair a file's fault in memory; it then is a remark, and what is done about it is noted."""
    found = _open.get()
    if found is None or found.repairs is None:
        return False
    found.remarks[fault] = None
    found.repairs[str(file)] = done
    return True


def format_findings(findings: Iterable[Finding]) -> str:
    """Findings by kind: the first few, how many more there are, and the remedy. A single finding is its sentence."""
    kinds: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: finding.fact):
        kinds.setdefault(finding.kind.many, []).append(finding)
    most = max(MOST // len(kinds), LEAST)
    if sum(map(len, kinds.values())) == 1:
        (only,) = next(iter(kinds.values()))
        return f"{one_line(only.fact)}\n{format_remedy([only])}"
    parts = []
    for name, several in sorted(kinds.items()):
        count = len(several)
        lines = [f"{count} {several[0].kind.one if count == 1 else name}:"]
        lines += [f"  {one_line(finding.fact)}" for finding in several[:most]]
        lines += [f"  … and {count - most} more"] if count > most else []
        parts.append("\n".join([*lines, format_remedy(several)]))
    total = sum(map(len, kinds.values()))
    return "\n".join([f"{total} findings in the data set:", *parts])


def format_remedy(findings: Sequence[Finding]) -> str:
    """What to do about findings of one kind."""
    remedy, line = findings[0].kind.remedy, suggest_settings(findings)
    return f"If that is meant, type {line}. {remedy}".rstrip() if line else remedy


def suggest_settings(findings: Sequence[Finding]) -> str:
    """The settings to type for findings of one kind, "" if none are known."""
    suggest = findings[0].kind.suggest
    values = sorted({value for finding in findings for value in finding.values})
    return suggest(values) if suggest is not None else ""
