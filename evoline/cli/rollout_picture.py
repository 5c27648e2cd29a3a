"""A rollout as text: its steps, its arms, what was shown, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Facts = Mapping[str, Any]


def picture(found: Facts) -> str:
    return "\n".join(_lines(found))


def _lines(found: Facts) -> Iterator[str]:
    yield f"{found['rollout_id']}  {found['pipeline']}  {found['stable'][:12]} -> {found['canary'][:12]}  {_state(found)}"
    yield f"steps    {_steps(found)}"
    numbers = found["numbers"]
    yield f"canary   {_arm(numbers['canary'])}"
    yield f"control  {_arm(numbers['control'])}"
    if numbers["shadow_runs"]:
        yield f"shadow   {numbers['shadow_runs']} runs repeated"
    yield f"gain     {_gain(numbers)}"
    worse, reported, broken = numbers["p_worse"], numbers["p_worse_quality"], numbers["p_broken"]
    yield f"guards   worse p = {worse:.2g}, by reports p = {reported:.2g}, broken p = {broken:.2g}"
    if ratios := _ratios(numbers):
        yield f"signals  {ratios}"
    if found["watch"]:
        reference = found["watch"]["reference"]
        yield f"watch    {numbers['watch_runs']} runs against at least {reference:.3f} success, worse p = {numbers['p_watch']:.2g}"
    if found["waits_for"]:
        yield f"waits for {found['waits_for']}"
    for line in found["history"][-5:]:
        yield f"{line['at'][:19]}  {line['text']}"


def _state(found: Facts) -> str:
    if found["paused_for"] and found["state"] == "paused":
        return f"paused: {found['paused_for']}"
    return f"{found['state']}, held: {found['held']}" if found["held"] else str(found["state"])


def _steps(found: Facts) -> str:
    names = ["shadow" if step["share"] == 0 else f"{step['share']:.0%}" for step in found["plan"]["steps"]]
    if found["state"] == "completed":
        return " > ".join([*names[:-1], f"[{names[-1]}]"])
    if found["state"] not in ("running", "paused"):
        return " > ".join(names)
    step = found["plan"]["steps"][found["step"]]
    shown = [f"[{name}]" if number == found["step"] else name for number, name in enumerate(names)]
    return f"{' > '.join(shown)}   {found['sample_of_step']} of {step['sample']} of this step"


def _arm(arm: Facts) -> str:
    if not arm["runs"]:
        return "no runs"
    rate = arm["successes"] / arm["runs"]
    units = f" of {arm['units']} users or sessions" if arm["units"] != arm["runs"] else ""
    ended = f"{rate:.1%} succeeded, {arm['hard_failures']} failed"
    return f"{arm['runs']} runs{units}, {ended}, {arm['seconds']:.2f} s, ${arm['cost_usd']:.4f}"


def _gain(numbers: Facts) -> str:
    if numbers["gain"] is None:
        return "no pairs yet"
    low, high = numbers["gain_low"], numbers["gain_high"]
    interval = f"[{low:+.3f}, {high:+.3f}]" if low is not None else "(too few for an interval)"
    shown = f", shown no worse than by {numbers['margin_shown']:g}" if numbers["margin_shown"] is not None else ""
    return f"{numbers['gain']:+.3f} {interval} over {numbers['pairs']} pairs{shown}"


def _ratios(numbers: Facts) -> str:
    named = (("latency", numbers["latency_ratio"]), ("cost", numbers["cost_ratio"]))
    return ", ".join(f"{name} {ratio:.2f} times" for name, ratio in named if ratio is not None)
