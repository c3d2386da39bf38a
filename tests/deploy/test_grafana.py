"""The dashboard queries metrics that the server has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_every_query_names_existing_metrics_and_labels() -> None:
    listed = yaml.safe_load((ROOT / "handler" / "metrics.yaml").read_text())
    labels = {
        metric["name"]: set(metric["dimensions"])
        for section in ("ts_metrics", "model_metrics")
        for metrics in listed[section].values()
        for metric in metrics
    }
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "captioner.json").read_text())
    asked = set()
    for panel in dashboard["panels"]:
        assert panel["description"]
        for target in panel["targets"]:
            names = re.findall(r"([A-Za-z]\w+)\[", target["expr"])
            assert names
            bases = {re.sub(r"_(sum|count|bucket)$", "", name) for name in names}
            assert bases <= labels.keys(), bases - labels.keys()
            grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \((.*?)\)", target["expr"]))))
            for base in bases:
                assert grouped - {"le"} <= labels[base], target["expr"]
            asked |= bases
    ours = {name for name in labels if name.startswith("captioner_")}
    assert ours <= asked, ours - asked
