"""How often the statistics kernel alarms falsely when everything is equal and one looks all the time, and how soon it sees a drop.

`python -m bench.evolution.false_alarms [--sequences 4000]`. No model, no services, seeded. Prints tables in Markdown."""

from __future__ import annotations

import argparse
import math
import platform
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from shared.evidence.assignment import BUCKETS, bucket_of
from shared.evidence.asymptotic import A_SQUARED_SKEWNESS, AT_LEAST, TUNED_FOR, Side, radius
from shared.evidence.betting import log_capitals
from shared.evidence.exact_tests import mcnemar_test
from shared.evidence.planning import exact_cases
from shared.evidence.sample_ratio import sample_ratio
from shared.evidence.scores import wilson_interval
from shared.evidence.two_arms import Blocks, add_outcome, as_value

ALPHA = 0.05
LOOKS = 1000
Array = NDArray[np.float64]
_ONE_SIDED: tuple[Side, ...] = ("lower", "upper")
SHARES = (0.5, 0.8, 0.9, 0.95)


def main(sequences: int) -> None:
    print(f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}; {sequences} sequences a row\n")
    print("| test, looked at after every observation | case | looks | false alarms | 95% interval |\n|---|---|---|---|---|")
    for name, case, looks, alarms in _rows(sequences):
        low, high = wilson_interval(float(np.mean(alarms)), len(alarms), 1.96)
        print(f"| {name} | {case} | {looks} | {np.mean(alarms):.4f} | {low:.4f} to {high:.4f} |", flush=True)
    _single_looks()
    _detection(min(sequences, 1000))
    _planner()
    _uniformity()


def _rows(sequences: int) -> Iterator[tuple[str, str, int, NDArray[np.bool_]]]:
    generator = np.random.default_rng(1)
    for share in SHARES:
        values = (generator.random((sequences, LOOKS)) < share).astype(np.float64)
        yield "fixed-n z test, two-sided (for contrast)", f"mean {share}", LOOKS, _fixed(values, share)
        yield "betting, two-sided", f"mean {share}", LOOKS, _bet(values, share, ALPHA / 2)
        for side in _ONE_SIDED:
            yield f"betting, one-sided {side}", f"mean {share}", LOOKS, _bet(values, share, ALPHA, side)
        for side in ("both", *_ONE_SIDED):
            yield f"asymptotic, {side}", f"mean {share}", LOOKS, _asymptotic(values, share, side)
        yield (
            "asymptotic, lower, from 30 on without the skewness rule",
            f"mean {share}",
            LOOKS,
            _asymptotic(values, share, "lower", 0),
        )
    for ramp in ((0.5,), (0.1,), (0.01, 0.05, 0.1, 0.25, 0.5)):
        arms, values = _outcomes(generator, sequences, LOOKS, ramp, 0.9, 0.9)
        rows = _padded([_block_values(*row)[0] for row in zip(arms, values, strict=True)])
        case = f"two arms, mean 0.9, canary {' '.join(f'{share:.0%}' for share in ramp)}"
        yield "betting on blocks, two-sided", case, LOOKS, _bet(rows, 0.5, ALPHA / 2)
        yield "betting on blocks, canary worse", case, LOOKS, _bet(rows, 0.5, ALPHA, "upper")
        yield "asymptotic gain, both", case, LOOKS, np.asarray(_asymptotic_gain(arms, values, "both").any(axis=1))
        yield "asymptotic gain, canary worse", case, LOOKS, np.asarray(_asymptotic_gain(arms, values, "upper").any(axis=1))
    yield "sample ratio, p < 0.001", "50%, after every unit", LOOKS, _mismatches(generator, min(sequences, 1000))


def _fixed(values: Array, share: float) -> NDArray[np.bool_]:
    number = np.arange(1, values.shape[1] + 1)
    z = (np.cumsum(values, axis=1) / number - share) / np.sqrt(share * (1 - share) / number)
    return np.asarray((np.abs(z[:, AT_LEAST:]) > 1.96).any(axis=1))


def _bet(values: Array, mean: float, alpha: float, side: str = "both") -> NDArray[np.bool_]:
    above, below = log_capitals(values, mean, alpha)
    wealth = {"lower": above, "upper": below, "both": np.maximum(above, below)}[side]
    return np.asarray(wealth.max(axis=1) >= math.log(1 / alpha))


def _asymptotic(values: Array, share: float, side: Side, skew: float = A_SQUARED_SKEWNESS) -> NDArray[np.bool_]:
    number = np.arange(1, values.shape[1] + 1)
    means = np.cumsum(values, axis=1) / number
    spread = np.maximum(means * (1 - means), 1e-300)
    half = np.sqrt(spread * number / np.maximum(number - 1, 1)) * _radii(len(number), side)
    enough = (number >= np.maximum(AT_LEAST, skew * (1 - 2 * means) ** 2 / spread)) & (spread > 1e-300)
    return np.asarray((_outside(means - share, half, side) & enough).any(axis=1))


def _asymptotic_gain(arms: NDArray[np.bool_], values: Array, side: Side) -> NDArray[np.bool_]:
    number = np.arange(1, values.shape[1] + 1)
    variance, gain, enough = np.zeros_like(values), np.zeros_like(values), np.ones_like(values, dtype=np.bool_)
    for sign, mine in ((1, arms), (-1, ~arms)):
        count = np.maximum(np.cumsum(mine, axis=1), 1)
        means = np.cumsum(values * mine, axis=1) / count
        spread = np.maximum(means * (1 - means), 1e-300)
        gain += sign * means
        variance += spread / np.maximum(count - 1, 1)
        enough &= (count >= np.maximum(AT_LEAST, A_SQUARED_SKEWNESS * (1 - 2 * means) ** 2 / spread)) & (spread > 1e-300)
    return _outside(gain, np.sqrt(variance * number) * _radii(len(number), side), side) & enough


def _outside(off: Array, half: Array, side: Side) -> NDArray[np.bool_]:
    return {"lower": off > half, "upper": off < -half, "both": np.abs(off) > half}[side]


def _radii(count: int, side: Side) -> Array:
    return np.asarray([radius(number, ALPHA, side, TUNED_FOR) for number in range(1, count + 1)])


def _outcomes(
    generator: np.random.Generator, sequences: int, count: int, ramp: Sequence[float], ours: float, theirs: float
) -> tuple[NDArray[np.bool_], Array]:
    shares = np.repeat(ramp, math.ceil(count / len(ramp)))[:count]
    arms = generator.random((sequences, count)) < shares
    return arms, (generator.random((sequences, count)) < np.where(arms, ours, theirs)).astype(np.float64)


def _block_values(arms: NDArray[np.bool_], values: Array) -> tuple[list[float], list[int]]:
    """Scaled differences of the closed blocks, and after how many outcomes each closed."""
    blocks, found, ends = Blocks(), [], []
    for number, (mine, value) in enumerate(zip(arms.tolist(), values.tolist(), strict=True), start=1):
        blocks, difference = add_outcome(blocks, "candidate" if mine else "incumbent", value)
        if difference is not None:
            found.append(as_value(difference))
            ends.append(number)
    return found, ends


def _padded(rows: Sequence[list[float]]) -> Array:
    longest = max(map(len, rows))
    return np.asarray([row + [0.5] * (longest - len(row)) for row in rows])


def _mismatches(generator: np.random.Generator, sequences: int) -> NDArray[np.bool_]:
    ours = np.cumsum(generator.random((sequences, LOOKS)) < 0.5, axis=1)
    number = np.arange(1, LOOKS + 1)
    worst = np.argmax(np.abs(2 * ours - number) / np.sqrt(number) * (number >= 16), axis=1)
    counts = [(int(row[at]), int(at + 1 - row[at])) for row, at in zip(ours, worst, strict=True)]
    return np.asarray([sample_ratio(pair, (0.5, 0.5)).outcome == "mismatch" for pair in counts])


def _single_looks() -> None:
    print("\n| exact paired test, one look, no difference | discordant pairs | level (exact) |\n|---|---|---|")
    for mid_p, pairs in product((False, True), (10, 20, 54, 200)):
        ways = (
            math.comb(pairs, wins) * (mcnemar_test(wins, pairs - wins, mid_p=mid_p).p_better <= ALPHA) for wins in range(pairs + 1)
        )
        print(f"| McNemar{', mid-p' * mid_p} | {pairs} | {sum(ways) / 2**pairs:.4f} |")


def _detection(sequences: int) -> None:
    print("\n| a drop of 20 points, one-sided 5% | canary | noticed | median outcomes | 90% within |\n|---|---|---|---|---|")
    generator = np.random.default_rng(2)
    for (ours, theirs), share in product(((0.7, 0.9), (0.6, 0.8)), (0.5, 0.1)):
        arms, values = _outcomes(generator, sequences, 2000, (share,), ours, theirs)
        for name, noticed in (("betting on blocks", _first_bet), ("asymptotic gain", _first_asymptotic)):
            _print_detection(f"{name}, {theirs} to {ours}", share, noticed, arms, values)


def _print_detection(
    name: str, share: float, noticed: Callable[[NDArray[np.bool_], Array], Array], arms: NDArray[np.bool_], values: Array
) -> None:
    first = noticed(arms, values)
    median, most = np.quantile(first, 0.5, method="higher"), np.quantile(first, 0.9, method="higher")
    print(f"| {name} | {share:.0%} | {np.mean(np.isfinite(first)):.3f} | {median:.0f} | {most:.0f} |", flush=True)


def _first_bet(arms: NDArray[np.bool_], values: Array) -> Array:
    blocks = [_block_values(*row) for row in zip(arms, values, strict=True)]
    hits = log_capitals(_padded([row for row, _ in blocks]), 0.5, ALPHA)[1] >= math.log(1 / ALPHA)
    found = [ends[int(np.argmax(hit))] if hit[: len(ends)].any() else math.inf for hit, (_, ends) in zip(hits, blocks, strict=True)]
    return np.asarray(found, dtype=np.float64)


def _first_asymptotic(arms: NDArray[np.bool_], values: Array) -> Array:
    hits = _asymptotic_gain(arms, values, "upper")
    return np.where(hits.any(axis=1), np.argmax(hits, axis=1) + 1.0, math.inf)


def _planner() -> None:
    print("\n| gain | cases of the exact test (one-sided 5%, power 80%, discordance .3) |\n|---|---|")
    for gain in (0.10, 0.05, 0.03):
        print(f"| {gain:+.2f} | {exact_cases(gain, 0.3, ALPHA, 0.8)} |")


def _uniformity() -> None:
    counts = np.bincount([bucket_of("salt", str(number)) for number in range(1_000_000)], minlength=BUCKETS)
    distance = float(np.sum((counts - 100.0) ** 2 / 100.0))
    p_value = special.chdtrc(BUCKETS - 1, distance)
    print(f"\nSticky assignment, 1,000,000 units in {BUCKETS} buckets: chi-square {distance:.0f}, p = {p_value:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=4000)
    main(parser.parse_args().sequences)
