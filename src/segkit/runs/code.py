"""The state of the code in the working directory, without running anything that its repository configures.

Someone else's folder may bring its own `.git`, whose config names programs: filters, diff tools, file monitors, hooks.
The commit is read from git's files; the diff is taken in a temporary repository without a config.
"""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from segkit.files.reading import read_text

MOST = 2**22  # bytes of a reference file


@dataclass(frozen=True)
class Repository:
    """A working tree, its commit, and git's folders for them."""

    tree: Path
    commit: str
    folder: Path
    common: Path  # shared by several working trees


def find(place: Path) -> Repository | None:
    """Find the repository that contains a folder, if it has a commit."""
    tree = next((one for one in (place, *place.parents) if (one / ".git").exists()), None)
    if tree is None:
        return None
    try:
        folder = tree / ".git"
        if not folder.is_dir():  # a linked working tree
            folder = (tree / read_text(folder, MOST).removeprefix("gitdir:").strip()).resolve()
        shared = folder / "commondir"
        common = (folder / read_text(shared, MOST).strip()).resolve() if shared.exists() else folder
        commit = commit_of(folder, common)
    except (OSError, ValueError):
        return None
    return Repository(tree, commit, folder, common) if commit else None


def commit_of(folder: Path, common: Path) -> str:
    """The commit that HEAD points at; empty if there is none."""
    found = read_text(folder / "HEAD", MOST).strip()
    if found.startswith("ref:"):
        name = found.removeprefix("ref:").strip()
        if not re.fullmatch(r"refs(/[\w.@+#-]+)+", name) or ".." in name:
            return ""
        if (common / name).exists():
            found = read_text(common / name, MOST).strip()
        else:
            packed = read_text(common / "packed-refs", MOST).splitlines()
            found = next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
    return found if re.fullmatch(r"[0-9a-f]{40}", found) else ""


def changes(found: Repository) -> str:
    """The diff to the commit, by git; empty without git, or if it takes too long.

    Runs in an empty repository that borrows the objects and the index, so that no config, attribute or hook of the
    original takes effect. Submodules, which have their own configs, are left out.
    """
    with tempfile.TemporaryDirectory(prefix="segkit-") as place:
        for name in ("refs", "objects"):
            (Path(place) / name).mkdir()
        (Path(place) / "HEAD").write_text(f"{found.commit}\n")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        environment = kept | {
            "GIT_DIR": place,
            "GIT_WORK_TREE": str(found.tree),
            "GIT_INDEX_FILE": str(found.folder / "index"),
            "GIT_OBJECT_DIRECTORY": str(found.common / "objects"),
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_NO_LAZY_FETCH": "1",
        }
        words = [
            "git",
            "-c",
            "core.fsmonitor=false",
            "-c",
            f"core.hooksPath={os.devnull}",
            "diff",
            "--no-ext-diff",
            "--no-textconv",
            "--ignore-submodules=all",
            found.commit,
        ]
        try:
            done = subprocess.run(
                words,
                cwd=found.tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""
