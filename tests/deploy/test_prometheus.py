"""The rules: read by promtool, and every alert has a test in which it fires and one in which it does not."""

import yaml
from conftest import DEPLOY, run

FOLDER = DEPLOY / "prometheus"


def test_promtool_accepts_the_configuration_and_the_rules():
    run("promtool", "check", "config", FOLDER / "prometheus.yml")
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *sorted((FOLDER / "rules").glob("*.yml")))


def test_alerts_fire_when_they_should():
    run("promtool", "test", "rules", *sorted((FOLDER / "tests").glob("*.yml")))


def test_every_alert_is_tested_both_ways():
    alerts = [rule for file in ("alerts.yml", "nodes.yml") for group in groups(file) for rule in group["rules"]]
    names = [rule["alert"] for rule in alerts]
    assert len(names) == len(set(names)) and names
    cases = [case for file in (FOLDER / "tests").glob("*.yml")
             for test in yaml.safe_load(file.read_text())["tests"] for case in test.get("alert_rule_test", [])]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(names)
    quiet = {case["alertname"] for case in cases if not case["exp_alerts"]}
    # What would fire on anything at all has a series beside it that must not fire: exp_alerts is complete.
    alone = {case["alertname"] for case in cases if len(case["exp_alerts"]) == 1}
    assert quiet | alone == set(names)
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
        assert {"summary", "description"} <= rule["annotations"].keys(), rule["alert"]


def groups(name):
    return yaml.safe_load((FOLDER / "rules" / name).read_text())["groups"]
