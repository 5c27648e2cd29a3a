"""`python -m bench.evolution [--quick] [--only PART ...]`: one part after another, each writing its section when it is done."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

from bench.evolution import exploits, generations, honesty, landscapes, online, reaching, real_model
from bench.evolution.competitors import missing
from bench.evolution.sizes import FULL, QUICK, Size

PARTS: Mapping[str, Callable[[Size], None]] = {
    "landscapes": landscapes.run_alone,
    "shipped": landscapes.run_shipped,
    "honesty": honesty.run,
    "reaching": reaching.run,
    "racing": generations.run,
    "exploits": exploits.run,
    "online": online.run,
    "real": real_model.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="reduced size, into .bench/evolution/quick.md")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--so-far", action="store_true", help="measure nothing, write what there is (landscapes, shipped, honesty)")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the model's server and the peers are ended on the way out
    if absent := missing():
        print(f"not installed, left out: {', '.join(absent)} (make bench-evolution installs them)")
    size = replace(QUICK if chosen.quick else FULL, only_known=chosen.so_far)
    for name in chosen.only:
        print(f"{name} ...", flush=True)
        PARTS[name](size)
    print(f"results: {size.results}")


if __name__ == "__main__":
    main()
