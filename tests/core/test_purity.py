"""The runtime imports neither torch nor ROS, and the packages' arrows point one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "ros2_ws/src/videocups_core"

IMPORT_ALL_WITHOUT_FRAMEWORKS = """
import importlib, pkgutil, sys

BLOCKED = {"torch", "torchvision", "rclpy", "cv_bridge", "sensor_msgs"}
BLOCKED |= {"videocups", "videocups_msgs", "videocups_perception"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked in this test")

sys.meta_path.insert(0, Blocker())
sys.path.insert(0, sys.argv[1])
import videocups_core

def failed(name):
    raise

for module in pkgutil.walk_packages(videocups_core.__path__, "videocups_core.", onerror=failed):
    importlib.import_module(module.name)
    print(module.name)
"""

# package folder -> packages that no file in it may import, not even inside a function
FORBIDDEN = {
    "ros2_ws/src/videocups_core/videocups_core": {"torch", "torchvision", "rclpy", "cv_bridge", "videocups"},
    "ros2_ws/src/videocups_perception/videocups_perception": {"torch", "torchvision", "videocups"},
    "training/src/videocups": {"rclpy", "cv_bridge", "videocups_perception", "detectron2"},
}


def import_all(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", IMPORT_ALL_WITHOUT_FRAMEWORKS, str(root)], capture_output=True, text=True, check=False
    )


def imported_packages(source: str) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            packages.add(node.module.partition(".")[0])
    return packages


def test_every_core_module_imports_without_torch_and_ros() -> None:
    result = import_all(CORE)
    assert result.returncode == 0, result.stderr
    modules = {
        "videocups_core." + ".".join(path.relative_to(CORE / "videocups_core").with_suffix("").parts)
        for path in (CORE / "videocups_core").rglob("*.py")
        if path.name != "__init__.py"
    }
    assert modules <= set(result.stdout.split())


@pytest.mark.parametrize("statement", ["import torch", "from sensor_msgs.msg import Image"])
def test_the_blocker_sees_a_framework(tmp_path: Path, statement: str) -> None:
    package = tmp_path / "videocups_core"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "impure.py").write_text(statement + "\n")
    result = import_all(tmp_path)
    assert result.returncode != 0
    assert "is blocked in this test" in result.stderr


@pytest.mark.parametrize("folder", sorted(FORBIDDEN))
def test_arrows_point_one_way(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {
        str(path.relative_to(ROOT)): found
        for path in files
        if (found := imported_packages(path.read_text(encoding="utf-8")) & FORBIDDEN[folder])
    }
    assert not wrong


def test_an_import_inside_a_function_is_found() -> None:
    assert imported_packages("def f():\n    import torch.nn as nn\n    from . import x\n") == {"torch"}
