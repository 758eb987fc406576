"""The dashboard's and the rules' queries, on a real Prometheus that scrapes a real gateway under load."""

import itertools
import json
import re
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
import yaml
from conftest import DEPLOY, SLOTWAY, free_ports, process, run, wait_for

DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "slotway.json").read_text())
SCRAPE = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries():
    for panel in panels():
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


class Prometheus:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"

    def get(self, path, **parameters):
        url = f"{self.base}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"{self.base}/-/ready", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def samples(self, query):
        return self.get("/api/v1/query", query=query)["result"]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """A cluster, a gateway, a load of every kind, and a Prometheus with our rules that has seen it for a while."""
    folder = tmp_path_factory.mktemp("dashboard")
    base, *_ = free_ports(6)
    clients, admin, port, exporter, tls = free_ports(5)
    settings = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    settings["global"] = SCRAPE
    settings["rule_files"] = [str(DEPLOY / "prometheus" / "rules" / "*.yml")]
    gateways, nodes = settings["scrape_configs"]
    gateways["static_configs"] = [{"targets": [f"127.0.0.1:{admin}"]}]
    nodes["static_configs"] = [{"targets": [f"redis://127.0.0.1:{base + place}" for place in range(6)]}]
    nodes["relabel_configs"][-1]["replacement"] = f"127.0.0.1:{exporter}"
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(settings))
    gateway = process(
        SLOTWAY, "up", "--ephemeral", "--base-port", base, "--listen", f"127.0.0.1:{clients}",
        "--admin", f"127.0.0.1:{admin}", log=folder / "gateway", stdout=subprocess.PIPE, env=encrypted(folder, tls),
    )
    server = process(
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn", log=folder / "prometheus",
    )
    exporters = process(
        "prometheus-redis-exporter", "-redis.addr=", f"-web.listen-address=127.0.0.1:{exporter}", log=folder / "exporter",
    )
    with gateway as started, exporters:
        assert f"ready on 127.0.0.1:{clients}" in started.stdout.readline().decode()
        run(SLOTWAY, "probe", "--admin", f"127.0.0.1:{admin}")
        with server:
            prometheus = Prometheus(port)
            wait_for("Prometheus", prometheus.is_ready)
            began = time.monotonic()
            for round_ in itertools.count():
                load(clients, round_)
                requests = prometheus.samples("instance:slotway_requests:rate5m > 0")
                known = prometheus.samples("redis_master_link_up") and prometheus.samples("redis_config_maxclients")
                if requests and known and time.monotonic() - began > 12:
                    break
                assert round_ < 1000
            yield prometheus


def encrypted(folder, port):
    """A port with TLS beside the plain one, so that there is a certificate to watch."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "90", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate)
    return {
        "SLOTWAY_LISTEN__TLS_ADDRESS": f"127.0.0.1:{port}",
        "SLOTWAY_LISTEN__TLS_CERTIFICATE_FILE": str(certificate),
        "SLOTWAY_LISTEN__TLS_KEY_FILE": str(key),
    }


def load(port, round_):
    """Requests of several families, some of them split over slots, some of them wrong."""
    lines = [f"SET key:{round_}:{n} {n}\nGET key:{round_}:{n}\nHSET hash:{n} f {round_}\nSADD set:{n} {n}"
             for n in range(50)]
    lines += [f"MSET a:{round_} 1 b:{round_} 2 c:{round_} 3", "GET hash:1", "RPUSH list x", "ZADD z 1 a"]
    run("redis-cli", "-p", port, text="\n".join(lines) + "\n")


def plain(query):
    """The query as Grafana would send it, with everything chosen."""
    return query.replace("$__rate_interval", "10s").replace("$instance", ".*").replace("$__range", "1m")


def test_every_query_is_answered(prometheus):
    # Nothing needs to have started in the last minute for this one to be right.
    may_be_empty = {"Gateways started"}
    silent, unknown = [], []
    names = set(prometheus.get("/api/v1/label/__name__/values"))
    for name, query in queries():
        unknown += [one for one in metric_names(query) if one not in names]
        if not prometheus.samples(plain(query)) and name not in may_be_empty:
            silent.append(f"{name}: {query}")
    assert unknown == []
    assert silent == []


def test_rules_are_evaluated_on_metrics_that_exist(prometheus):
    names = set(prometheus.get("/api/v1/label/__name__/values"))
    rules = [rule for group in prometheus.get("/api/v1/rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 20
    for rule in rules:
        assert rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}"
        for one in metric_names(rule["query"]):
            assert one in names, f"{rule['name']} asks for {one}"
        if rule["type"] == "recording":
            assert prometheus.samples(rule["name"]), f"{rule['name']} is empty"
    # A healthy gateway before a healthy cluster gives no alarm that is not about the test's own wrong requests.
    firing = {alert["labels"]["alertname"] for alert in prometheus.get("/api/v1/alerts")["alerts"]
              if alert["state"] == "firing"}
    assert firing == set()


def metric_names(query):
    """Names of metrics in a query: what stands before a brace, a bracket, an operator or at its end."""
    query = re.sub(r'"[^"]*"', "", query)
    return set(re.findall(r"(?:slotway|process|redis)_[a-z_]+", re.sub(r"[a-z_]+:[a-z0-9_:]+", "", query)))


def test_panels_lie_side_by_side():
    taken = {}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x, y in itertools.product(range(place["x"], place["x"] + place["w"]),
                                      range(place["y"], place["y"] + place["h"])):
            assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
            taken[x, y] = panel["title"]


def test_panels_ask_the_chosen_source_for_the_chosen_gateways():
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert panel["fieldConfig"]["defaults"].get("unit") or panel["type"] == "state-timeline", panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", panel["title"]
            assert '$instance"' in target["expr"], panel["title"]


def test_provisioning_leads_to_the_dashboard():
    provisioning = DEPLOY / "grafana" / "provisioning"
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in compose["volumes"])
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "slotway.yml").read_text())["providers"]
    assert mounts["../grafana/dashboards"] == provider["options"]["path"]
    assert mounts["../grafana/provisioning"] == "/etc/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090" and source["type"] == "prometheus"
