"""What of setup.sh, test.sh and env.sh can be tried without installing anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ["setup.sh", "test.sh", "demo.sh", ".ci/run", "ros2_ws/env.template.sh"]
SHELLS = [shell for shell in ("bash", "zsh") if shutil.which(shell)]
TOOLS = ["bash", "dirname", "flock", "mkdir"]


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=60, **options)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_parse(script: str) -> None:
    result = run("bash", "-n", ROOT / script)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("script", [script for script in SCRIPTS if not script.startswith("ros2_ws")])
def test_scripts_can_be_started(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize("script", ["setup.sh", "test.sh", "demo.sh"])
def test_help_names_every_option(script: str) -> None:
    result = run(ROOT / script, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("usage: ./" + script)
    options = set(re.findall(r"^\s*(?:-\w \| )?(--[a-z-]+)(?:=\*)?\)", (ROOT / script).read_text(), re.MULTILINE))
    assert options - {"--", "--help"} <= set(re.findall(r"--[a-z-]+", result.stdout))


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("setup.sh", ["--frobnicate"], "unknown option '--frobnicate'"),
        ("setup.sh", ["--distro", "foxy"], "--distro must be kilted, jazzy, both or none, got 'foxy'"),
        ("setup.sh", ["--distro"], "--distro needs a name"),
        ("test.sh", ["--frobnicate"], "unknown option '--frobnicate'"),
        ("test.sh", ["--only", "nothing"], "got 'nothing'"),
        ("test.sh", ["--only"], "--only needs one of: lint types training"),
        ("demo.sh", ["--frobnicate"], "unknown option '--frobnicate'"),
    ],
)
def test_a_wrong_call_gets_one_sentence(script: str, arguments: list[str], said: str) -> None:
    result = run(ROOT / script, *arguments)
    assert result.returncode != 0
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def bare_machine(folder: Path, python: str | None) -> dict[str, str]:
    """A PATH that holds the shell's tools and, when given, this text as python3; no compiler."""
    programs = folder / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(str(shutil.which(tool)))
    if python is not None:
        (programs / "python3").write_text("#!/bin/sh\n" + python)
        (programs / "python3").chmod(0o755)
    shutil.copy(ROOT / "setup.sh", folder)
    return {"PATH": str(programs), "HOME": str(folder)}


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (None, "apt-get install -y python3 python3-venv python3-dev g++"),
        ('case "$2" in *ensurepip*) exit 1 ;; esac', "apt-get install -y python3-venv g++"),
        ('case "$2" in *Python.h*) exit 1 ;; esac', "apt-get install -y python3-dev g++"),
        ('case "$1" in -V) echo Python 3.8.10 ;; esac; exit 1', "python3 is Python 3.8.10, needed is 3.10 or later"),
    ],
)
def test_what_the_machine_lacks_is_named(tmp_path: Path, python: str | None, said: str) -> None:
    result = run(tmp_path / "setup.sh", cwd=tmp_path, env=bare_machine(tmp_path, python))
    assert result.returncode != 0
    assert said in result.stderr
    assert not list(tmp_path.glob(".venv*"))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder as setup.sh leaves it for two distributions, one from wheels and one from a system's ROS 2."""
    root = tmp_path / "a checkout"
    config = root / "ros2_ws/src/videocups_perception/config"
    config.mkdir(parents=True)
    for distro in ("kilted", "jazzy"):
        install = root / f"ros2_ws/install-{distro}"
        install.mkdir()
        for shell in ("bash", "zsh"):
            text = f'[ -z "$UNSET_VARIABLE" ]\nfalse\nexport PYTHONPATH="{install}/lib:$PYTHONPATH"\n'
            (install / f"local_setup.{shell}").write_text(text)
    (root / ".venv-kilted/lib/python3.11/site-packages/ros_rcl.libs").mkdir(parents=True)
    system = tmp_path / "opt/ros/jazzy"
    system.mkdir(parents=True)
    for shell in ("bash", "zsh"):
        (system / f"setup.{shell}").write_text(f"export ROS_DISTRO=jazzy AMENT_PREFIX_PATH={system}\n")
    (root / ".venv-jazzy").mkdir()
    (root / ".venv-jazzy/.system-ros").write_text(f"{system}\n")
    text = (ROOT / "ros2_ws/env.template.sh").read_text()
    values = {"@ROOT@": str(root), "@DISTROS@": "kilted|jazzy", "@DISTRO@": "kilted"}
    for name, value in values.items():
        text = text.replace(name, value)
    (root / "env.sh").write_text(text)
    return root


def sourced(shell: str, root: Path, script: str, **environment: str) -> dict[str, str]:
    """The environment after ``script``, in which ``$E`` is env.sh."""
    base = {"PATH": os.environ["PATH"], "E": str(root / "env.sh"), **environment}
    result = run(shell, "-c", f"{script}\nenv -0", env=base, cwd=root.parent)
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    return dict(line.split("=", 1) for line in result.stdout.split("\0") if line)


@pytest.mark.parametrize("shell", SHELLS)
def test_env_sets_ros_up_from_wheels(shell: str, workspace: Path) -> None:
    found = sourced(shell, workspace, 'source "$E"')
    venv = workspace / ".venv-kilted"
    assert found["AMENT_PREFIX_PATH"] == found["CMAKE_PREFIX_PATH"] == str(venv)
    assert found["LD_LIBRARY_PATH"] == f"{venv}/lib:{venv}/lib/python3.11/site-packages/ros_rcl.libs"
    assert found["PATH"].startswith(f"{venv}/bin:")
    assert found["ROS_DISTRO"] == "kilted"
    assert found["_ROS_WHEELS_BOOTSTRAP_COMPLETE"] == "1"
    assert found["RMW_IMPLEMENTATION"] == "rmw_fastrtps_cpp"
    assert found["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert found["FASTDDS_DEFAULT_PROFILES_FILE"].endswith("/videocups_perception/config/fastdds_loopback.xml")
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in found


@pytest.mark.parametrize("shell", SHELLS)
def test_env_stands_on_a_systems_ros(shell: str, workspace: Path) -> None:
    found = sourced(shell, workspace, 'source "$E" jazzy')
    assert found["AMENT_PREFIX_PATH"] == str(workspace.parent / "opt/ros/jazzy")
    assert found["PATH"].startswith(f"{workspace}/.venv-jazzy/bin:")
    assert found["FASTRTPS_DEFAULT_PROFILES_FILE"].endswith("/fastdds_loopback.xml")
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in found
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in found


@pytest.mark.parametrize("shell", SHELLS)
def test_sourcing_again_leaves_nothing_of_the_first(shell: str, workspace: Path) -> None:
    once = sourced(shell, workspace, 'source "$E" kilted')
    again = sourced(shell, workspace, 'source "$E" kilted; source "$E" kilted')
    assert again == once
    other = sourced(shell, workspace, 'source "$E" jazzy; source "$E" kilted')
    assert not [name for name, value in other.items() if "jazzy" in value]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_strict_script_can_source_it_and_stays_strict(shell: str, workspace: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "E": str(workspace / "env.sh")}
    result = run(shell, "-euc", 'source "$E" kilted; echo "$ROS_DISTRO"; echo "$nowhere"; echo on', env=environment)
    assert result.stdout == "kilted\n"
    assert result.returncode != 0
    assert "nowhere" in result.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_a_users_own_settings_stay(shell: str, workspace: Path) -> None:
    own = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp", "FASTDDS_DEFAULT_PROFILES_FILE": "/etc/my.xml"}
    found = sourced(shell, workspace, 'source "$E" kilted', **own, PYTHONPATH="/my/modules")
    assert {name: found[name] for name in own} == own
    assert found["PYTHONPATH"] == f"{workspace}/ros2_ws/install-kilted/lib:/my/modules"
    wide = sourced(shell, workspace, 'source "$E" kilted', ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET")
    assert wide["FASTDDS_DEFAULT_PROFILES_FILE"].endswith("/config/fastdds.xml")


@pytest.mark.parametrize("shell", SHELLS)
def test_an_unknown_distribution_changes_nothing(shell: str, workspace: Path) -> None:
    result = run(
        shell, "-c", 'source "$E" foxy; echo $?; env', env={"PATH": os.environ["PATH"], "E": workspace / "env.sh"}
    )
    assert result.stdout.startswith("1\n")
    assert "no workspace is built for 'foxy'" in result.stderr
    assert "ROS_DISTRO" not in result.stdout


def test_profiles_differ_only_by_the_loopback_list() -> None:
    config = ROOT / "ros2_ws/src/videocups_perception/config"
    wide, loopback = (
        re.sub(r"<!--.*?-->", "", (config / name).read_text(), flags=re.DOTALL)
        for name in ("fastdds.xml", "fastdds_loopback.xml")
    )
    whitelist = re.compile(r"\s*<interfaceWhiteList>\s*<address>127\.0\.0\.1</address>\s*</interfaceWhiteList>")
    assert whitelist.search(loopback)
    assert whitelist.sub("", loopback) == wide
