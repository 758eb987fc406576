"""The scripts of deploy/cluster on real servers: a cluster is formed, repaired, extended, moved and drained."""

import contextlib
import json

import pytest
import yaml
from conftest import DEPLOY, TOP, free_ports, process, run, wait_for

SCRIPTS = DEPLOY / "cluster"
# What a settings file must quote.
PASSWORD = 'pass "word\\ 1'


class Nodes:
    """Nodes as start-node.sh starts them, each with an address of its own on loopback."""

    def __init__(self, folder, count):
        self.folder = folder
        self.ports = free_ports(count)
        self.password = folder / "password"
        self.password.write_text(PASSWORD)
        self.addresses = [f"127.0.0.{place + 2}" for place in range(count)]
        self.running = {}

    def start(self, place):
        data = self.folder / f"node-{place}"
        data.mkdir(exist_ok=True)
        stack = contextlib.ExitStack()
        stack.enter_context(
            process(
                "sh",
                SCRIPTS / "start-node.sh",
                log=data / "log",
                env=self.env(NODE_PORT=self.ports[place], NODE_DIR=data, NODE_ADDRESS=self.addresses[place]),
            )
        )
        self.running[place] = stack

    def answers(self, place):
        asked = self.call(place, "PING")
        return asked.stdout.strip() == "PONG"

    def stop(self, place):
        self.running.pop(place).close()

    def stop_all(self):
        for place in list(self.running):
            self.stop(place)

    def names(self, count=None):
        pairs = list(zip(self.addresses, self.ports))[:count]
        return " ".join(f"{address}:{port}" for address, port in pairs)

    def env(self, **more):
        given = {"REDIS_PASSWORD_FILE": self.password, **more}
        return {name: str(value) for name, value in given.items()}

    def ask(self, place, *words):
        asked = self.call(place, *words)
        assert asked.returncode == 0, asked.stderr
        return asked.stdout.strip()

    def call(self, place, *words, password=PASSWORD):
        node = ("-h", self.addresses[place], "-p", self.ports[place])
        return run("redis-cli", *node, *words, env={"REDISCLI_AUTH": password}, check=False)

    def form(self, count, primaries=3, check=True):
        return run(
            "sh", SCRIPTS / "form.sh", check=check,
            env=self.env(NODES=self.names(count), PRIMARIES=primaries, PATIENCE=60),
        )

    def view(self, place=0):
        """Each node's id, flags, primary and number of slots, as one node sees them."""
        lines = self.ask(place, "CLUSTER", "NODES").splitlines()
        return sorted((*line.split()[:1], line.split()[2].replace("myself,", ""), line.split()[3],
                       count_slots(line.split()[8:])) for line in lines)

    def slots_by_role(self, place=0):
        primaries = [slots for _, flags, _, slots in self.view(place) if flags == "master"]
        replicas = [flags for _, flags, _, _ in self.view(place) if flags == "slave"]
        return sorted(primaries), len(replicas)

    def is_whole(self):
        states = [self.ask(place, "CLUSTER", "INFO") for place in self.running]
        return all("cluster_state:ok" in state for state in states)


def count_slots(ranges):
    ends = [one.split("-") for one in ranges if not one.startswith("[")]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)


@pytest.fixture
def nodes(tmp_path):
    nodes = Nodes(tmp_path, 8)
    yield nodes
    nodes.stop_all()


def start(nodes, count):
    for place in range(count):
        nodes.start(place)
    for place in range(count):
        wait_for("a node that answers", lambda: nodes.answers(place))


def test_a_cluster_is_formed_once_and_grows(nodes):
    start(nodes, 6)
    formed = nodes.form(6)
    assert "16384 slots, 3 primaries, 6 nodes" in formed.stdout
    assert nodes.slots_by_role() == ([5461, 5461, 5462], 3)
    heads = [primary for _, flags, primary, _ in nodes.view() if flags == "slave"]
    assert len(set(heads)) == 3, "a primary has two replicas and another none"
    nodes.ask(0, "-c", "SET", "key", "value")

    before = nodes.view()
    again = nodes.form(6)
    assert again.stdout.splitlines() == ["the cluster is whole: 16384 slots, 3 primaries, 6 nodes"]
    assert nodes.view() == before, "a second run changed something"

    for place in (6, 7):
        nodes.start(place)
        wait_for("a node that answers", lambda: nodes.answers(place))
    grown = nodes.form(8, primaries=4)
    assert "4 primaries, 8 nodes" in grown.stdout
    primaries, replicas = nodes.slots_by_role()
    assert replicas == 4 and sum(primaries) == 16384 and len(primaries) == 4
    assert max(primaries) - min(primaries) < 200, primaries
    assert len({primary for _, flags, primary, _ in nodes.view() if flags == "slave"}) == 4
    assert nodes.ask(0, "-c", "GET", "key") == "value"
    assert nodes.form(8, primaries=4).stdout.startswith("the cluster is whole")


def test_a_creation_that_was_cut_short_is_finished(nodes):
    start(nodes, 4)
    # What is there when form.sh dies after the first primary: two nodes that met, slots without an owner.
    nodes.ask(0, "CLUSTER", "MEET", nodes.addresses[1], nodes.ports[1])
    met = nodes.ask(1, "CLUSTER", "MYID").strip()
    wait_for("nodes that met", lambda: met in nodes.ask(0, "CLUSTER", "NODES"))
    nodes.ask(0, "CLUSTER", "ADDSLOTSRANGE", "0", "5460")
    nodes.ask(1, "CLUSTER", "ADDSLOTSRANGE", "5461", "6000")
    nodes.form(4)
    assert nodes.slots_by_role() == ([5461, 5461, 5462], 1)


def test_slots_that_lost_their_owner_are_a_persons_decision(nodes):
    start(nodes, 3)
    nodes.form(3)
    nodes.ask(0, "-c", "SET", "key", "value")
    for place in range(3):
        nodes.ask(place, "CLUSTER", "DELSLOTS", "5")
    refused = nodes.form(3, check=False)
    assert refused.returncode != 0
    assert "only 16383 of 16384 slots have an owner" in refused.stderr
    assert nodes.ask(0, "CLUSTER", "INFO").splitlines()[1] == "cluster_slots_assigned:16383"


def test_two_clusters_are_not_joined(nodes):
    start(nodes, 4)
    nodes.form(3)
    nodes.ask(3, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    refused = nodes.form(4, check=False)
    assert refused.returncode != 0 and "different clusters" in refused.stderr
    assert nodes.slots_by_role() == ([5461, 5461, 5462], 0)


def test_a_primary_hands_over_before_it_stops_and_moved_nodes_find_each_other(nodes, tmp_path):
    start(nodes, 6)
    nodes.form(6)
    nodes.ask(0, "-c", "SET", "key", "value")

    hand_over = ("sh", SCRIPTS / "hand-over.sh")
    assert "has taken over" in run(*hand_over, env=nodes.env(NODE_PORT=nodes.ports[0])).stdout
    assert "role:slave" in nodes.ask(0, "INFO", "replication")
    # Now a replica: nothing to hand over.
    assert run(*hand_over, env=nodes.env(NODE_PORT=nodes.ports[0])).stdout == ""

    before = {name for name, *_ in nodes.view()}
    nodes.stop_all()
    nodes.addresses = [f"127.0.1.{place + 2}" for place in range(8)]
    start(nodes, 6)
    reunite = ("sh", SCRIPTS / "reunite.sh")
    with process(*reunite, log=tmp_path / "reunite", env=nodes.env(NODES=nodes.names(6), EVERY=1)):
        wait_for("a whole cluster", nodes.is_whole)
        wait_for("the new addresses", lambda: "127.0.0.2:" not in nodes.ask(1, "CLUSTER", "NODES"))
    assert {name for name, *_ in nodes.view()} == before
    assert nodes.ask(0, "-c", "GET", "key") == "value"


def test_the_password_is_needed_and_shows_nowhere(nodes):
    start(nodes, 1)
    assert "NOAUTH" in nodes.call(0, "PING", password="").stdout
    assert nodes.ask(0, "CONFIG", "GET", "masterauth").splitlines() == ["masterauth", PASSWORD]
    # A node shows its port there, and so shows that the list is of all processes.
    listed = run("ps", "-eo", "args").stdout
    assert f":{nodes.ports[0]} [cluster]" in listed and PASSWORD not in listed


def test_scripts_are_plain_sh():
    scripts = sorted(SCRIPTS.glob("*.sh")) + [DEPLOY / "compose" / "passwords.sh"]
    run("shellcheck", "--shell=sh", "--external-sources", f"--source-path={TOP}", *scripts)
    run("shellcheck", TOP / ".ci" / "run", TOP / "tests" / "deploy" / "run")


def test_passwords_are_made_once(tmp_path):
    script = tmp_path / "passwords.sh"
    script.write_text((DEPLOY / "compose" / "passwords.sh").read_text())
    run("sh", script)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    for_exporter = json.loads(made.pop("redis_exporter.json"))
    scrapes = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    (targets,) = [one["static_configs"][0]["targets"] for one in scrapes if one["job_name"] == "redis"]
    assert for_exporter == dict.fromkeys(targets, made["redis_password"])
    assert sorted(made) == ["grafana_password", "redis_password", "slotway_password"]
    assert all(len(text) == 48 and text.isalnum() for text in made.values())
    assert len(set(made.values())) == 3
    assert run("sh", script).stdout == ""
    kept = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert made.items() <= kept.items()
