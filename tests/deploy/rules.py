"""Writes the rules of deploy/prometheus as the PrometheusRule of deploy/kubernetes/monitoring.

    target/deploy/venv/bin/python tests/deploy/rules.py
"""

from pathlib import Path

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

HEAD = """\
# Written by tests/deploy/rules.py from deploy/prometheus/rules: change them there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: slotway
  labels:
    app: slotway
spec:
"""


def main():
    files = [DEPLOY / "prometheus" / "rules" / name for name in ("recording.yml", "alerts.yml")]
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    body = yaml.safe_dump({"groups": groups}, sort_keys=False, width=110, allow_unicode=True)
    text = HEAD + "".join(f"  {line}\n" for line in body.splitlines())
    (DEPLOY / "kubernetes" / "monitoring" / "rules.yaml").write_text(text)


main()
