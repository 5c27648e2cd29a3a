"""Alerts by Prometheus' own tool, where it is installed; and that each alert is tested firing and silent."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

PROMETHEUS = Path(__file__).parents[3] / "deploy" / "prometheus"
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))

RULES = [
    rule
    for file in (PROMETHEUS / "rules").glob("*.yml")
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = sorted(rule["alert"] for rule in RULES)


def cases(alert: str) -> list[dict[str, Any]]:
    groups = [group for file in TESTS for group in yaml.safe_load(file.read_text())["tests"]]
    return [case for group in groups for case in group["alert_rule_test"] if case["alertname"] == alert]


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tested_firing_and_silent(alert: str) -> None:
    assert {bool(case["exp_alerts"]) for case in cases(alert)} == {True, False}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian package prometheus)")
@pytest.mark.parametrize("file", TESTS, ids=lambda path: path.name)
def test_the_rules_do_what_their_tests_say(file: Path) -> None:
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
