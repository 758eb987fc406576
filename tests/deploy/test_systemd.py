"""The unit: read by systemd itself, and rated by it."""

import re

from conftest import DEPLOY, SLOTWAY, run

UNIT = DEPLOY / "systemd" / "slotway.service"
# systemd's own scale: 0 is shut in, 10 is free. The network stays open, and with it some tenths.
MOST_EXPOSED = 2.0


def test_systemd_accepts_the_unit(tmp_path):
    text = UNIT.read_text()
    assert text.count("/usr/bin/slotway") >= 2
    unit = tmp_path / "slotway.service"
    unit.write_text(text.replace("=/usr/bin/slotway", f"={SLOTWAY}"))
    checked = run("systemd-analyze", "verify", "--man=no", unit)
    complaints = [line for line in checked.stderr.splitlines() if "slotway" in line]
    assert complaints == []


def test_systemd_accepts_the_socket(tmp_path):
    for name in ("slotway.service", "slotway.socket"):
        text = (DEPLOY / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("=/usr/bin/slotway", f"={SLOTWAY}"))
    checked = run("systemd-analyze", "verify", "--man=no", tmp_path / "slotway.socket")
    assert [line for line in checked.stderr.splitlines() if "slotway" in line] == []
    address = re.search(r"^ListenStream=(.*)", (DEPLOY / "systemd" / "slotway.socket").read_text(), re.M)[1]
    assert f'address = "{address}"' in (DEPLOY / "systemd" / "slotway.toml").read_text()


def test_a_mistake_would_be_seen(tmp_path):
    unit = tmp_path / "slotway.service"
    unit.write_text(UNIT.read_text().replace("=/usr/bin/slotway", f"={SLOTWAY}").replace("Restart=", "Restrat="))
    checked = run("systemd-analyze", "verify", "--man=no", unit, check=False)
    assert "Restrat" in checked.stderr


def test_it_is_shut_in():
    rated = run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", UNIT)
    assert float(re.search(r"exposure level for .*: ([0-9.]+)", rated.stdout)[1]) <= MOST_EXPOSED


def test_it_may_take_longer_to_stop_than_a_drain_takes(tmp_path):
    for name in ("nodes", "clients"):
        (tmp_path / name).write_text("secret\n")
    env = {"SLOTWAY_CLUSTER__PASSWORD_FILE": str(tmp_path / "nodes"), "SLOTWAY_AUTH__PASSWORD_FILE": str(tmp_path / "clients")}
    text = UNIT.read_text()
    assert all(f"Environment={name}=%d/{path.split('/')[-1]}-password" in text for name, path in env.items())
    run(SLOTWAY, "check", "--config", DEPLOY / "systemd" / "slotway.toml", env=env)
    reference = (DEPLOY.parent / "config" / "slotway.toml").read_text()
    drain = int(re.search(r'^drain_time = "(\d+)s"', reference, re.M)[1])
    assert int(re.search(r"^TimeoutStopSec=(\d+)", text, re.M)[1]) > drain
