"""A page as a headless browser shows it."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium: make chromium")


def browse(page: Path) -> dict[str, Any]:
    """The JSON that a page writes into its title, in a browser without network; nothing may be logged as an error."""
    quiet = ("background-networking", "component-update", "sync", "quic", "gpu")
    with tempfile.TemporaryDirectory(dir="/tmp") as profile:  # a short name, for the sockets in it
        words = ["--headless", "--no-sandbox", "--no-first-run", "--enable-logging=stderr", "--v=0", "--dump-dom"]
        words += ["--allow-file-access-from-files", "--virtual-time-budget=4000", f"--user-data-dir={profile}"]
        words += [f"--disable-{name}" for name in quiet]
        done = subprocess.run(
            ["chromium", *words, f"file://{page}"],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env=os.environ | {"TMPDIR": profile},
        )
    assert ":CONSOLE" not in done.stderr
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr
    seen: dict[str, Any] = json.loads(title[1].replace("&quot;", '"'))
    return seen


def browse_narrow(page: str, folder: Path) -> dict[str, Any]:
    """`browse` for the text of a page, 400 pixels wide, that writes its JSON when it is loaded."""
    (folder / "page.html").write_text(page)
    told = "setTimeout(() => { document.title = this.contentDocument.title }, 200)"
    (folder / "frame.html").write_text(f'<iframe src="page.html" width="400" height="800" onload="{told}"></iframe>')
    return browse(folder / "frame.html")
