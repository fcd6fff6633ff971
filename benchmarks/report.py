"""A report of 1,600 problems x 48 samples: seconds and memory to write it, seconds to open it.

    python benchmarks/report.py runs/some.jsonl [--problems 1600] [--page report/index.html]

The journal's problems are repeated under other ids until there are enough. Opening needs Chromium
and its driver (pip install playwright); each opening is in a new window of a running browser, a
row is opened by a click.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPEATS = 5
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}


def main() -> None:
    """Writes the report and opens it, or opens one that is there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("journal", type=Path)
    parser.add_argument("--problems", type=int, default=1600)
    parser.add_argument("--page", type=Path, help="open this one, write none")
    args = parser.parse_args()
    if args.page:
        opened(args.page)
        return
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool.jsonl"
        with pool.open("w") as file:
            file.writelines(repeated(args.journal, args.problems))
        opened(written(pool))


def repeated(journal: Path, problems: int) -> Iterator[str]:
    """The lines of a journal with so many problems."""
    with journal.open() as file:
        header, *lines = file
    yield header
    for k, line in zip(range(problems), itertools.cycle(lines), strict=False):
        solution = json.loads(line)
        solution["problem"]["id"] = f"{k:04d} {solution['problem']['id']}"
        solution["problem"]["text"] += f" ({k})"
        yield json.dumps(solution, separators=(",", ":")) + "\n"


def written(pool: Path) -> Path:
    """The report of the pool; prints what it took."""
    out = pool.parent / "report"
    command = [sys.executable, "-m", "aimo_submit", "report", str(pool), "--out", str(out)]
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"written in {seconds:.1f} s ({used.ru_utime:.1f} s of a core), at most "
        f"{used.ru_maxrss / 1024:.0f} MiB, from {pool.stat().st_size / 1e6:.0f} MB"
    )
    return out / "index.html"


def opened(page: Path) -> None:
    """Prints how long the page takes to open, and one of its rows."""
    from playwright.sync_api import sync_playwright

    print(f"{page.stat().st_size / 1e6:.1f} MB")
    with sync_playwright() as driver:
        path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, (width, height) in SIZES.items():
            size: Any = {"width": width, "height": height}
            tries = [timed(browser.new_page(viewport=size), page) for _ in range(REPEATS)]
            for what, seconds in zip(("page", "row"), zip(*tries, strict=True), strict=True):
                print(
                    f"{name}: {what} opens in {statistics.median(seconds):.2f} s, "
                    f"at most {max(seconds):.2f} s"
                )
        browser.close()


def timed(window: Any, page: Path) -> tuple[float, float]:
    """Seconds until the page has loaded, and until a row shows its first sample."""
    start = time.monotonic()
    window.goto(page.resolve().as_uri())
    loaded = time.monotonic()
    window.click("tbody tr:nth-child(3)")
    window.wait_for_selector(".sample")
    shown = time.monotonic()
    window.close()
    return loaded - start, shown - loaded


if __name__ == "__main__":
    main()
