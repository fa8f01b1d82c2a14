"""What a run notes of the code around it, and what a stranger's repository may not do meanwhile."""

import os
import subprocess
from pathlib import Path

import pytest

from segkit.runs import code

OWNER = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def git(*words: str, at: Path) -> str:
    done = subprocess.run(["git", *words], cwd=at, env=os.environ | OWNER, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    place = tmp_path / "repository"
    place.mkdir()
    git("init", "-q", "-b", "main", at=place)
    (place / "a.txt").write_text("one\n")
    git("add", ".", at=place)
    git("commit", "-q", "-m", "first", at=place)
    return place


def state(place: Path) -> tuple[str, str]:
    found = code.find(place)
    return ("", "") if found is None else (found.commit, code.changes(found))


def test_the_commit_and_what_differs_from_it(repository: Path, tmp_path: Path) -> None:
    head = git("rev-parse", "HEAD", at=repository)
    assert state(repository) == (head, "")
    (repository / "a.txt").write_text("two\n")
    (repository / "below").mkdir()
    assert state(repository / "below") == (head, git("diff", "HEAD", at=repository))
    git("pack-refs", "--all", at=repository)
    assert state(repository)[0] == head
    git("checkout", "-q", "--detach", at=repository)
    assert state(repository)[0] == head
    git("worktree", "add", "-q", "-b", "other", str(tmp_path / "other"), at=repository)
    (tmp_path / "other" / "a.txt").write_text("three\n")
    assert state(tmp_path / "other") == (head, git("diff", "HEAD", at=tmp_path / "other"))


def test_where_there_is_no_commit_nothing_is_said(tmp_path: Path) -> None:
    git("init", "-q", at=tmp_path)
    assert code.find(tmp_path) is None
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/../../../etc/hostname\n")
    assert code.find(tmp_path) is None
    (tmp_path / ".git" / "HEAD").unlink()
    os.mkfifo(tmp_path / ".git" / "HEAD")
    assert code.find(tmp_path) is None


def test_a_repository_runs_no_programs(repository: Path, tmp_path: Path) -> None:
    touch = f"touch {tmp_path}/pwned; cat"
    for key in (
        "core.fsmonitor",
        "diff.external",
        "diff.evil.textconv",
        "filter.evil.clean",
        "filter.evil.process",
        "core.pager",
        "diff.evil.command",
    ):
        git("config", key, touch, at=repository)
    git("config", "core.hooksPath", str(tmp_path / "hooks"), at=repository)
    (repository / ".git" / "info").mkdir(exist_ok=True)
    for file in (repository / ".git" / "info" / "attributes", repository / ".gitattributes"):
        file.write_text("* filter=evil diff=evil\n")
    (tmp_path / "pwned").unlink(missing_ok=True)
    (repository / "a.txt").write_text("two\n")
    commit, diff = state(repository)
    assert commit
    assert "+two" in diff
    assert not (tmp_path / "pwned").exists()
    subprocess.run(["git", "diff", "HEAD"], cwd=repository, capture_output=True, check=False)
    assert (tmp_path / "pwned").exists()  # what git itself would have run
