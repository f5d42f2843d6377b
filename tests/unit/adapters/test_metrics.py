"""The metrics by Prometheus' rules, and the dashboard and the alerts held against them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from spotguard.adapters.http.metrics import exposition
from spotguard.core.problem import ProblemCode
from spotguard.core.tally import Tally
from spotguard.services.replication.durations import Duration
from tests.contract.http.fake_control import INTERRUPTION, STATUS

MONITORING = Path(__file__).parents[3] / "docs/monitoring"
_TALLIES = {duration.value: Tally().with_one(0.3).with_one(4.0).with_one(10_000.0) for duration in Duration}


@pytest.fixture(scope="module")
def families() -> dict[str, tuple[str, dict[str, float]]]:
    """Name of a family -> its type and its samples."""
    from dataclasses import replace

    exposure = replace(STATUS.exposure, steps_at_risk_estimate=3.0, save_seconds_estimate=5.0)
    status = replace(STATUS, interruption=replace(INTERRUPTION, verdict="safe"), exposure=exposure)
    text = exposition(lambda: status, lambda: _TALLIES).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        found[family.name] = (family.type, {f"{s.name}{sorted(s.labels.items())}": s.value for s in family.samples})
    return found


def sample_names(families: dict[str, tuple[str, dict[str, float]]]) -> set[str]:
    return {sample.partition("[")[0] for _, samples in families.values() for sample in samples}


def test_names_have_our_prefix_base_units_and_total_on_what_only_grows(families: dict[str, tuple[str, dict[str, float]]]) -> None:
    for name, (kind, samples) in families.items():
        assert re.fullmatch(r"spotguard(_[a-z]+)+", name), name
        assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|megabytes|percent)\b", name), name
        if kind == "counter":
            assert all(sample.partition("[")[0].endswith("_total") for sample in samples), name
        if kind == "histogram":
            assert name.endswith("_seconds")


def test_a_histogram_counts_what_is_not_over_each_bound(families: dict[str, tuple[str, dict[str, float]]]) -> None:
    kind, samples = families["spotguard_drain_seconds"]
    assert kind == "histogram"
    assert samples["spotguard_drain_seconds_bucket[('le', '0.25')]"] == 0
    assert samples["spotguard_drain_seconds_bucket[('le', '0.5')]"] == 1
    assert samples["spotguard_drain_seconds_bucket[('le', '900.0')]"] == 2
    assert samples["spotguard_drain_seconds_bucket[('le', '+Inf')]"] == 3
    assert samples["spotguard_drain_seconds_count[]"] == 3
    assert samples["spotguard_drain_seconds_sum[]"] == pytest.approx(10_004.3)


def test_the_verdict_is_one_of_two_states(families: dict[str, tuple[str, dict[str, float]]]) -> None:
    _, samples = families["spotguard_verdict"]
    assert sorted(samples.values()) == [0.0, 1.0]


def used_in(text: str) -> set[str]:
    """Metrics that expressions name; in `spotguard_state{spotguard_state="…"}` the second one is a label."""
    without_labels = re.sub(r"\{\{[^}]*\}\}|\{[^}]*\}|by \([^)]*\)", "", text)
    return set(re.findall(r"\bspotguard_[a-z_]+", without_labels))


def test_the_alerts_ask_for_metrics_problems_and_runbooks_that_exist(families: dict[str, tuple[str, dict[str, float]]]) -> None:
    rules = [rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    codes = {code.value for code in ProblemCode}
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert used_in(rule["expr"]) <= sample_names(families), rule["alert"]
        for listed in re.findall(r'code[!=]~?"([^"]+)"', rule["expr"]):
            assert set(listed.split("|")) <= codes
        runbook, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^## (.+)$", (MONITORING.parents[1] / runbook).read_text(), re.MULTILINE)
        assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_the_dashboard_draws_metrics_that_exist_and_every_histogram(families: dict[str, tuple[str, dict[str, float]]]) -> None:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    drawn = set()
    for panel in dashboard["panels"]:
        assert panel["targets"]
        for target in panel["targets"]:
            used = used_in(target["expr"])
            assert used
            assert used <= sample_names(families), (panel["title"], used - sample_names(families))
            drawn |= used
    histograms = {name for name, (kind, _) in families.items() if kind == "histogram"}
    assert histograms <= {re.sub(r"_(bucket|sum|count)$", "", name) for name in drawn}
