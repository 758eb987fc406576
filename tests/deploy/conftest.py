"""What the checks stand on: paths, programs that must be there, ports, and processes that end with the test."""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
DEPLOY = TOP / "deploy"
SLOTWAY = TOP / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "slotway"
PATIENCE = 60


def run(*command, env=None, check=True, text=None, cwd=TOP):
    """Runs a program to its end. A failure shows what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(env or {})},
        input=text,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
    )
    if check and done.returncode != 0:
        pytest.fail(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def wait_for(what, condition, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {patience} s in vain for {what}"
        time.sleep(0.05)


def free_ports(count):
    """That many consecutive ports, free like those 10000 above them, which nodes use among each other."""
    for _ in range(200):
        first = random.randrange(12_000, 20_000)
        if all(is_free(port) and is_free(port + 10_000) for port in range(first, first + count)):
            return list(range(first, first + count))
    raise AssertionError("no free ports")


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def die_with_parent():
    # PR_SET_PDEATHSIG: nothing that a test starts outlives it, whatever ends it.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@contextlib.contextmanager
def process(*command, log, env=None, stdout=None):
    """A program that runs as long as the block does."""
    with open(log, "ab") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout or output,
            stderr=output,
            preexec_fn=die_with_parent,
            cwd=TOP,
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout:
            child.stdout.close()
