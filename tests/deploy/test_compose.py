"""The compose files: read by compose itself, and everything that they name is there."""

import re

import yaml
from conftest import DEPLOY, run

FOLDER = DEPLOY / "compose"
NODES = [f"redis-node-{number}" for number in range(1, 7)]


def composed(name, tmp_path):
    """What compose makes of the file: it refuses keys that it does not know and names that lead nowhere."""
    file = tmp_path / name
    # Debian 12 has compose 1.29, which knows all of it but the project's name at the top.
    file.write_text(re.sub(r"^name: .*$", "", (FOLDER / name).read_text(), flags=re.M))
    made = run("docker-compose", "--project-directory", FOLDER, "-f", file, "config", cwd=tmp_path)
    return yaml.safe_load(made.stdout)


def read(name):
    return yaml.safe_load((FOLDER / name).read_text())


def test_compose_accepts_the_files(tmp_path):
    services = composed("compose.yaml", tmp_path)["services"]
    assert set(NODES) | {"redis-cluster-init", "slotway", "prometheus", "grafana"} <= set(services)
    assert set(composed("sidecar.yaml", tmp_path)["services"]) == {"app", "slotway"}


def test_every_file_that_is_mounted_is_there():
    for name in ("compose.yaml", "sidecar.yaml"):
        for service in read(name)["services"].values():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("."):
                    assert (FOLDER / source).exists(), f"{name}: {source}"
                else:
                    assert source in read(name)["volumes"], f"{name}: {source}"


def test_secrets_are_files_that_git_ignores_and_the_script_makes():
    script = (FOLDER / "passwords.sh").read_text()
    for name in ("compose.yaml", "sidecar.yaml"):
        for secret, where in read(name)["secrets"].items():
            assert where["file"] == f"./secrets/{secret}"
            assert secret in script
    assert (FOLDER / ".gitignore").read_text() == "/secrets/\n"


def test_the_cluster_waits_for_its_nodes_and_the_gateway_for_the_cluster():
    services = read("compose.yaml")["services"]
    init = services["redis-cluster-init"]
    assert init["depends_on"] == {node: {"condition": "service_healthy"} for node in NODES}
    ports = {node: services[node]["environment"]["NODE_PORT"] for node in NODES}
    assert init["environment"]["NODES"].split() == [f"{node}:{port}" for node, port in ports.items()]
    assert len(set(ports.values())) == 6
    assert services["slotway"]["depends_on"] == {
        "redis-cluster-init": {"condition": "service_completed_successfully"}
    }


def test_nothing_has_more_rights_than_it_needs():
    for name in ("compose.yaml", "sidecar.yaml"):
        for service, settings in read(name)["services"].items():
            if service == "app":
                continue
            assert settings["cap_drop"] == ["ALL"], service
            assert settings["security_opt"] == ["no-new-privileges:true"], service
            assert settings.get("read_only") or service == "grafana", service
            for port in settings.get("ports", []):
                assert port.startswith("127.0.0.1:"), f"{service} publishes {port} to other machines"


def test_a_gateway_has_time_to_drain():
    drain = re.search(r'^drain_time = "(\d+)s"', (FOLDER / "slotway.toml").read_text(), re.M)[1]
    sidecar = read("sidecar.yaml")["services"]["slotway"]
    beside = sidecar["environment"]["SLOTWAY_RUNTIME__DRAIN_TIME"]
    for service, time in ((read("compose.yaml")["services"]["slotway"], drain), (sidecar, beside)):
        assert int(service["stop_grace_period"].rstrip("s")) > int(time.rstrip("s"))


def test_the_sidecar_joins_the_network_of_the_cluster():
    sidecar, cluster = read("sidecar.yaml"), read("compose.yaml")
    assert sidecar["networks"]["redis-cluster"]["name"] == f"{cluster['name']}_redis-cluster"
    assert "redis-cluster" in cluster["networks"]
    assert sidecar["services"]["app"]["network_mode"] == "service:slotway"
