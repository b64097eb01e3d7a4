"""`make bench`: run the benchmarks and print one table; --save keeps it in bench/results/ with the machine named."""

import argparse
import platform
import sys
from datetime import date
from pathlib import Path

import torch

from decoding import decoding
from training import SIZE, VOCABULARY, Result, dense, multi30k

HERE = Path(__file__).parent


def main() -> None:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each comparison (default 7)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument(
        "--multi30k", type=Path, default=HERE.parent / "data" / "multi30k", help="folder of Multi30k"
    )
    parser.add_argument("--save", metavar="NAME", help="keep the table as bench/results/NAME.md")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results = []
    for dropout in (0.0, 0.1):
        results.append(_told(dense(arguments.rounds, dropout)))
    if (arguments.multi30k / "train.en.gz").is_file():
        results.append(_told(multi30k(arguments.multi30k, arguments.rounds)))
    else:
        print(f"no Multi30k in {arguments.multi30k}: that comparison is left out", file=sys.stderr)
    results += [_told(result) for result in decoding(arguments.rounds)]
    page = _page(results, arguments.rounds)
    print(page)
    if arguments.save:
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / f"{arguments.save}.md").write_text(page + "\n", encoding="utf-8")


def _told(result: Result) -> Result:
    print(f"{result.name}: {result.ratio[0]:.2f}x", file=sys.stderr)
    return result


def _page(results: list[Result], rounds: int) -> str:
    lines = [
        "# Benchmarks",
        "",
        f"{date.today()}, {processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{rounds} rounds, by `{' '.join(['python', 'bench/run.py', *sys.argv[1:]])}`.",
        "",
        f"Size: {SIZE}, vocabulary {VOCABULARY}, float32, fused AdamW, label smoothing 0.1. Figures are useful tokens "
        "per second, medians; the ratio is the median of the rounds' ratios, with their range. The peer of the "
        "training rows is `torch.nn.Transformer`, of the decoding rows the same model without its cache.",
        "",
        "| comparison | stepwise | peer | ratio | range | note |",
        "|---|---:|---:|---:|---|---|",
    ]
    for r in results:
        middle, low, high = r.ratio
        lines.append(
            f"| {r.name} | {r.ours:,.0f} | {r.peer:,.0f} | {middle:.2f} | {low:.2f} to {high:.2f} | {r.note} |"
        )
    return "\n".join(lines)


def processor() -> str:
    """Name the CPU of this machine."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
