"""The Dockerfile: read by hadolint, and what it copies and calls is there. No image is built: that needs an engine."""

import json
import shutil
import tomllib
from pathlib import Path

from conftest import DEPLOY, SLOTWAY, TOP, run

TEXT = (DEPLOY / "Dockerfile").read_text()


def test_hadolint_has_nothing_to_say():
    run("hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile")


def test_the_rust_version_is_the_packages():
    package = tomllib.loads((TOP / "Cargo.toml").read_text())["package"]
    assert f"ARG RUST={package['rust-version']}\n" in TEXT


def test_what_is_sent_to_the_engine_is_a_whole_package(tmp_path):
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignore if line.startswith("!")]
    assert "*" in ignore
    for name in kept:
        source = TOP / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("target", "node_modules"))
        else:
            shutil.copy(source, tmp_path / name)
    run("cargo", "metadata", "--offline", "--locked", "--no-deps", "--format-version=1", cwd=tmp_path)
    included = run("grep", "-rnoE", r'include_(str|bytes)!\(\s*"[^"]+"', TOP / "src").stdout.splitlines()
    for line in included:
        file, path = line.split(":")[0], line.split('"')[1]
        found = (Path(file).parent / path).resolve().relative_to(TOP)
        assert (tmp_path / found).is_file(), f"{file} includes {found}"


def test_the_health_check_is_a_command_there_is():
    line = next(line for line in TEXT.splitlines() if line.startswith("HEALTHCHECK"))
    program, *arguments = json.loads(line[line.index("["):])
    assert program == "/usr/bin/slotway"
    assert f"COPY --from=build /out/slotway {program}" in TEXT
    asked = run(SLOTWAY, *arguments, check=False, env={"SLOTWAY_ADMIN__ADDRESS": "127.0.0.1:1"})
    assert asked.returncode == 1 and "no answer from 127.0.0.1:1" in asked.stderr


def test_it_runs_as_nobody_and_without_a_shell():
    last = TEXT[TEXT.rindex("\nFROM "):]
    assert "distroless" in last.splitlines()[1] and "\nUSER 65532:65532\n" in last
    assert "\nRUN " not in last
