"""The manifests: built by kustomize, held against the published schemas, and against each other."""

import json
import re

import kubernetes_validate
import pytest
import yaml
from conftest import DEPLOY, SLOTWAY, TOP, run

FOLDER = DEPLOY / "kubernetes"
BUILDS = ["redis", "gateway", "backup", "sidecar", "bitnami", "overlays/trial", "overlays/production", "overlays/larger"]
# The oldest version that has all that is used, and the newest whose schemas are there.
VERSIONS = ["1.30", "newest"]
OPERATOR = "monitoring.coreos.com/v1"


def built(build):
    return [one for one in yaml.safe_load_all(run("kubectl", "kustomize", FOLDER / build).stdout) if one]


def of_kind(objects, *kinds):
    return [one for one in objects if one["kind"] in kinds]


def pod_templates(objects):
    specs = [(one, one["spec"]) for one in of_kind(objects, "Deployment", "StatefulSet", "Job")]
    specs += [(one, one["spec"]["jobTemplate"]["spec"]) for one in of_kind(objects, "CronJob")]
    return [(one, spec["template"]) for one, spec in specs]


def containers(template):
    return template["spec"]["containers"] + template["spec"].get("initContainers", [])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("build", BUILDS)
def test_objects_follow_the_published_schemas(build, version):
    if version == "newest":
        version = kubernetes_validate.latest_version()
    objects = built(build)
    assert objects
    for one in objects:
        if one["apiVersion"] != OPERATOR:
            kubernetes_validate.validate(one, version, strict=True)


def test_a_wrong_object_does_not_follow_them():
    one = of_kind(built("gateway"), "Deployment")[0]
    one["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("build", BUILDS)
def test_names_lead_somewhere(build):
    objects = built(build)
    # Made by hand or by the chart, and said so in README.md.
    known = {("Secret", "redis-cluster-secret"), ("Secret", "slotway-secret")}
    known |= {(one["kind"], one["metadata"]["name"]) for one in objects}
    for owner, template in pod_templates(objects):
        for wanted in wanted_by(template):
            assert wanted in known, f"{owner['metadata']['name']} wants {wanted}"
        volumes = {volume["name"] for volume in template["spec"].get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
        for container in containers(template):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
                for how in ("httpGet", "tcpSocket"):
                    if how in container.get(probe, {}):
                        assert container[probe][how]["port"] in ports, f"{probe} of {container['name']}"


def wanted_by(template):
    for volume in template["spec"].get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in containers(template):
        for source in container.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"]
    if "serviceAccountName" in template["spec"]:
        yield "ServiceAccount", template["spec"]["serviceAccountName"]


@pytest.mark.parametrize("build", BUILDS)
def test_selectors_choose_pods(build):
    objects = built(build)
    pods = [template for _, template in pod_templates(objects)]
    for one in of_kind(objects, "Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = one["spec"]
        selector = spec.get("selector") or spec["podSelector"]
        chosen = [pod for pod in pods if matches(selector.get("matchLabels", selector), pod)]
        assert chosen, f"{one['kind']} {one['metadata']['name']} chooses no pod"
        names = {port["name"] for pod in chosen for box in containers(pod) for port in box.get("ports", [])}
        for port in spec.get("ports", []):
            assert port["targetPort"] in names
        for rule in spec.get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= names
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert [one for one in of_kind(objects, target["kind"]) if one["metadata"]["name"] == target["name"]]


def matches(labels, template):
    return labels.items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("build", BUILDS)
def test_pods_are_restricted(build):
    """What the pod security standard `restricted` asks, and a bound on memory."""
    for owner, template in pod_templates(built(build)):
        name = owner["metadata"]["name"]
        pod = template["spec"]["securityContext"]
        assert pod["runAsNonRoot"] is True and pod["seccompProfile"]["type"] == "RuntimeDefault", name
        assert template["spec"]["automountServiceAccountToken"] is False, name
        for container in containers(template):
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False, name
            assert rights["readOnlyRootFilesystem"] is True, name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            # A password stands in no argument and no variable.
            assert "secretKeyRef" not in json.dumps(container.get("env", [])), name


@pytest.mark.parametrize("build", ["gateway", "bitnami", "overlays/production"])
def test_the_gateway_gets_settings_that_it_accepts_and_time_to_drain(build, tmp_path):
    objects = built(build)
    (settings,) = [one for one in of_kind(objects, "ConfigMap") if "slotway.toml" in one["data"]]
    text = settings["data"]["slotway.toml"]
    for kind in ("nodes", "clients"):
        (tmp_path / kind).write_text("secret\n")
        text = text.replace(f"/secrets/{kind}/password", str(tmp_path / kind))
    (tmp_path / "slotway.toml").write_text(text)
    run(SLOTWAY, "check", "--config", tmp_path / "slotway.toml")

    (gateway,) = [one for one in of_kind(objects, "Deployment") if one["metadata"]["name"] == "slotway"]
    pod = gateway["spec"]["template"]["spec"]
    drain = int(re.search(r'drain_time = "(\d+)s"', text)[1])
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= before + drain + 5
    # A new one is ready before an old one drains, and says so by what the old one stops saying.
    rolling = gateway["spec"]["strategy"]["rollingUpdate"]
    assert rolling["maxUnavailable"] == 0 and rolling["maxSurge"] >= 1
    assert pod["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert pod["containers"][0]["livenessProbe"]["httpGet"]["path"] == "/healthz", "a drain is no reason to kill"


@pytest.mark.parametrize("build", ["backup", "overlays/production"])
def test_the_backup_gets_settings_and_flags_that_it_accepts(build, tmp_path):
    objects = built(build)
    (settings,) = [one for one in of_kind(objects, "ConfigMap") if "backup.toml" in one["data"]]
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "backup.toml").write_text(settings["data"]["backup.toml"].replace("/secrets/nodes", str(tmp_path)))
    run(SLOTWAY, "check", "--config", tmp_path / "backup.toml")
    (job,) = of_kind(objects, "CronJob")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    # Nobody is there to be backed up, so all that is left to go wrong is the cluster.
    args = [one.replace("/etc/slotway", str(tmp_path)).replace("/backups", str(tmp_path)) for one in container["args"]]
    failed = run(SLOTWAY, *args, check=False)
    assert failed.returncode == 1 and "no node can be asked" in failed.stderr


def test_the_sidecar_starts_with_its_flags_and_variables(tmp_path):
    (_, template), = pod_templates(built("sidecar"))
    (sidecar,) = template["spec"]["initContainers"]
    assert sidecar["restartPolicy"] == "Always" and sidecar["startupProbe"]["httpGet"]["path"] == "/readyz"
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "empty.toml").write_text("")
    env = {one["name"]: one["value"].replace("/secrets/nodes", str(tmp_path)) for one in sidecar["env"]}
    run(SLOTWAY, "check", "--config", tmp_path / "empty.toml", env=env)
    drain = int(env["SLOTWAY_RUNTIME__DRAIN_TIME"].rstrip("s"))
    assert template["spec"]["terminationGracePeriodSeconds"] > drain
    flags = run(SLOTWAY, "serve", "--help").stdout
    assert sidecar["args"][0] == "serve" and all(one.split("=")[0] in flags for one in sidecar["args"][1:])


@pytest.mark.parametrize("build", ["redis", "overlays/trial", "overlays/production", "overlays/larger"])
def test_the_shape_names_the_pods_there_are(build):
    objects = built(build)
    (nodes,) = of_kind(objects, "StatefulSet")
    (shape,) = [one for one in of_kind(objects, "ConfigMap") if "NODES" in one["data"]]
    service = nodes["spec"]["serviceName"]
    assert service in [one["metadata"]["name"] for one in of_kind(objects, "Service")]
    expected = [f"redis-cluster-{place}.{service}:6379" for place in range(nodes["spec"]["replicas"])]
    assert shape["data"]["NODES"].split() == expected
    assert nodes["spec"]["replicas"] % int(shape["data"]["PRIMARIES"]) == 0


def test_what_the_overlays_change():
    (nodes,) = of_kind(built("overlays/production"), "StatefulSet")
    assert nodes["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "fast-ssd"
    affinity = nodes["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
    assert list(affinity) == ["requiredDuringSchedulingIgnoredDuringExecution"]
    assert of_kind(built("overlays/larger"), "StatefulSet")[0]["spec"]["replicas"] == 8
    (gateway,) = [one for one in of_kind(built("overlays/production"), "Deployment")
                  if one["metadata"]["name"] == "slotway"]
    assert gateway["spec"]["template"]["spec"]["containers"][0]["image"].startswith("registry.example.com/")


def test_monitoring_scrapes_the_admin_port_and_has_the_rules():
    objects = built("overlays/production")
    (monitor,) = of_kind(objects, "ServiceMonitor")
    assert monitor["apiVersion"] == OPERATOR
    services = [one for one in of_kind(objects, "Service")
                if monitor["spec"]["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()]
    (service,) = services
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    # The alerts look for job="slotway".
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "slotway"
    (rules,) = of_kind(objects, "PrometheusRule")
    assert rules["spec"] == {"groups": rule_groups()}, "write it anew: tests/deploy/rules.py"
    (dashboard,) = [one for one in of_kind(objects, "ConfigMap") if "slotway.json" in one["data"]]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


def rule_groups():
    files = [DEPLOY / "prometheus" / "rules" / name for name in ("recording.yml", "alerts.yml")]
    return [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


def test_chart_values_name_what_slotway_reads():
    values = yaml.safe_load((FOLDER / "bitnami" / "values.yaml").read_text())
    (gateway,) = of_kind(built("bitnami"), "Deployment")
    wanted = set(wanted_by(gateway["spec"]["template"]))
    assert ("Secret", values["existingSecret"]) in wanted
    assert (values["cluster"]["nodes"], values["cluster"]["replicas"]) == (6, 1)
    label = gateway["spec"]["template"]["metadata"]["labels"]["redis-cluster-client"]
    assert label == "true", "the chart's NetworkPolicy lets pods with this label in"


def test_every_manifest_is_in_a_build():
    listed = set()
    for file in FOLDER.rglob("kustomization.yaml"):
        for resource in yaml.safe_load(file.read_text()).get("resources", []):
            listed.add((file.parent / resource).resolve())
    loose = [path.relative_to(TOP) for path in FOLDER.rglob("*.yaml")
             if path.name not in ("kustomization.yaml", "values.yaml") and path.resolve() not in listed]
    assert loose == []
