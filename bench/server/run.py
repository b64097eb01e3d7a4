"""`make bench-server`: start, memory, ingestion, charts, tables, files; --save keeps the page."""

import argparse
import os
import platform
import sqlite3
import sys
from datetime import date
from pathlib import Path

from browsing import Browsing, browsing
from events import CLIENTS, GOAL_P95_MS, GOAL_PER_SECOND, POINTS, charts, ingestion, table
from process import Footprint, footprint

HERE = Path(__file__).parent


def main() -> None:
    """Measure everything and print one page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of reporting, for each number of clients")
    parser.add_argument("--most-points", type=int, default=POINTS[-1], help="leave out charts of more points")
    parser.add_argument("--save", metavar="NAME", help="keep the page as bench/results/NAME.md")
    arguments = parser.parse_args()
    cost = footprint()
    print(f"start {cost.start_s:.2f} s, idle {cost.idle_mb:.0f} MB", file=sys.stderr)
    taken = [ingestion(clients, arguments.seconds) for clients in CLIENTS]
    drawn = charts(tuple(points for points in POINTS if points <= arguments.most_points))
    page = "\n".join([*_head(cost), "", table(taken, drawn), "", *_tables(browsing())])
    print(page)
    if arguments.save:
        (HERE.parent / "results" / f"{arguments.save}.md").write_text(page + "\n", encoding="utf-8")


def _head(cost: Footprint) -> list[str]:
    return [
        "# The server",
        "",
        f"{date.today()}, {_processor()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, SQLite "
        f"{sqlite3.sqlite_version}, by `make bench-server`. Goals: {GOAL_PER_SECOND:,} scalars/s, charts below "
        f"{GOAL_P95_MS:.0f} ms at any number of points.",
        "",
        "| | measured | goal |",
        "|---|---:|---:|",
        f"| launch to first answered call, median of {len(cost.starts_s)} | {cost.start_s:.2f} s | 0.6 s |",
        f"| resident memory, idle | {cost.idle_mb:.0f} MB | 70 MB |",
        f"| resident memory after a million scalars | {cost.loaded_mb:.0f} MB | |",
    ]


def _tables(found: Browsing) -> list[str]:
    return [
        "| table of 10,000 tasks | p50 ms | p95 ms |",
        "|---|---:|---:|",
        *(f"| {title} | {p50:.1f} | {p95:.1f} |" for title, (p50, p95) in found.queries.items()),
        "",
        f"A file of 512 MiB: {found.upload_mb_s:.0f} MB/s up (hashed, on the disk), "
        f"{found.download_mb_s:.0f} MB/s down.",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
