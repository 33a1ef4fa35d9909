"""Inject faults into inkwash by the thousand, and print what it survived: a campaign against `docs/reliability.md`.

    python benchmarks/faults.py                  # about ten minutes
    python benchmarks/faults.py --scale 0.1      # a tenth of the tries
    python benchmarks/faults.py --only damage options

The table is in Markdown: the promise, how often it was tried, how often it held, and the seconds that this took. What
did not hold is listed below it, with the number that repeats it. The exit code is 1 if anything did not hold.

The trials are those of `tests/support/campaign.py`, of which `tests/faults/` tries a few on every push.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from campaign import TRIALS, Ground, Tally, attempt


def rows(tallies: dict[str, Tally]) -> Iterator[str]:
    """The table, and below it what failed."""
    yield "| promise | tries | held | seconds |"
    yield "| --- | --- | --- | --- |"
    for name, tally in tallies.items():
        promise = (TRIALS[name][0].__doc__ or "").splitlines()[0].rstrip(".")
        yield f"| {promise} | {tally.tries} | {tally.tries - len(tally.failed)} | {tally.seconds:.0f} |"
    for name, tally in tallies.items():
        for number, outcome in tally.failed[:10]:
            yield f"{name} {number}: {outcome}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the tries")
    parser.add_argument("--only", nargs="+", choices=sorted(TRIALS), default=sorted(TRIALS), help="some promises")
    parser.add_argument("--number", type=int, help="one try again, by its number")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ground, tallies = Ground.prepared(Path(folder)), {}
        for name in options.only:
            count = max(1, round(options.scale * TRIALS[name][1]))
            tries = range(count) if options.number is None else range(options.number, options.number + 1)
            tallies[name] = attempt(name, ground, tries, options.seed)
            print(f"{name}: {tallies[name].tries} tries, {len(tallies[name].failed)} failed", file=sys.stderr)
    print("\n".join(rows(tallies)))
    sys.exit(any(tally.failed for tally in tallies.values()))


if __name__ == "__main__":
    main()
