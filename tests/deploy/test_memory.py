"""A container with a gateway has memory for everything that the gateway may hold at once, by PRODUCTION.md's sum."""

import re
import tomllib

import pytest
import yaml
from conftest import DEPLOY, TOP
from test_kubernetes import built, containers, of_kind, pod_templates

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
UNITS = {"KiB": KIB, "MiB": MIB, "GiB": GIB, "Mi": MIB, "Gi": GIB, "m": MIB, "g": GIB}
DEFAULTS = tomllib.loads((TOP / "config" / "slotway.toml").read_text())
# What the process has beyond what it holds for clients and what connections cost: tests/e2e/crowd.rs allows as much.
SLACK = 1.25


def size(text):
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]+)", text).groups()
    return float(number) * UNITS[unit]


def base():
    """The two figures of `resident = 11 MiB + clients × 3.2 KiB + ..`."""
    formula = re.search(r"resident = (\S+) MiB \+ clients × (\S+) KiB", (DEPLOY / "PRODUCTION.md").read_text())
    return float(formula[1]) * MIB, float(formula[2]) * KIB


def needed(settings):
    """What the gateway may come to hold with these settings, by room and key."""
    def value(room, key):
        return settings.get(room, {}).get(key, DEFAULTS[room][key])

    (process, client), workers = base(), int(value("runtime", "workers"))
    assert workers > 0, "the number of cores is not known here"
    each = size(value("backend", "hold_bytes")) + size(value("routing", "gathered_bytes_all"))
    under_way = size(value("limits", "client_memory")) + workers * each
    return process + int(value("limits", "max_clients")) * client + SLACK * under_way


def from_variables(env):
    settings = {}
    for name, value in env.items():
        if name.startswith("SLOTWAY_"):
            room, key = name.removeprefix("SLOTWAY_").lower().split("__")
            settings.setdefault(room, {})[key] = value
    return settings


def in_compose(name):
    """Settings and memory of the gateway of a compose file."""
    folder = DEPLOY / "compose"
    gateway = yaml.safe_load((folder / name).read_text())["services"]["slotway"]
    settings = from_variables(gateway.get("environment", {}))
    if any("slotway.toml" in volume for volume in gateway.get("volumes", [])):
        settings = tomllib.loads((folder / "slotway.toml").read_text())
    return settings, gateway["deploy"]["resources"]["limits"]["memory"]


def in_kubernetes(build):
    """The same of the pods of a build."""
    objects = built(build)
    files = [one["data"]["slotway.toml"] for one in of_kind(objects, "ConfigMap") if "slotway.toml" in one["data"]]
    found = [one for _, template in pod_templates(objects) for one in containers(template) if one["name"] == "slotway"]
    (gateway,) = found
    settings = from_variables({one["name"]: one.get("value") for one in gateway.get("env", [])})
    for text in files:
        settings.update(tomllib.loads(text))
    return settings, gateway["resources"]["limits"]["memory"]


PLACES = [(in_compose, "compose.yaml"), (in_compose, "sidecar.yaml")]
PLACES += [(in_kubernetes, build) for build in ("gateway", "bitnami", "sidecar", "overlays/trial", "overlays/production")]


@pytest.mark.parametrize("place", PLACES, ids=[name for _, name in PLACES])
def test_what_may_be_held_fits_the_memory(place):
    look, name = place
    settings, memory = look(name)
    assert needed(settings) <= size(memory), f"{name}: {needed(settings) / MIB:.0f} MiB, and it has {memory}"


def test_defaults_would_not_fit():
    assert needed({"runtime": {"workers": 1}}) > size("512Mi")
