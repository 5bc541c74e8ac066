"""The folders at the top of the repository are the sub-packages, installed and in the checkout."""

import importlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tomllib

import pytest

import opweave

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONFIG = PROJECT["tool"]["setuptools"]
TOPS = sorted(folder for name, folder in CONFIG["package-dir"].items() if "." in name)

# What `import opweave` must not load: each costs time, memory or threads, or may be absent.
HEAVY = [
    *("click", "google.protobuf", "llvmlite", "ml_dtypes", "networkx", "numba", "numpy", "onnx"),
    *("onnxruntime", "platformdirs", "rich", "opweave.ir"),
]


def folder_of(package: str) -> pathlib.Path:
    """Where the checkout has the source of a package."""
    return ROOT / package if package == "opweave" else ROOT.joinpath(*package.split(".")[1:])


def files_of(folder: pathlib.Path) -> dict[str, bytes]:
    """The files right inside a folder, by name; compiled modules and hidden files left out."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
    }


def run_python(code: str, folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Run code in a new process, with ``folder`` the first place that modules come from."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_every_folder_is_listed():
    found = {"opweave"}
    for top in TOPS:
        for init in (ROOT / top).rglob("__init__.py"):
            found.add(".".join(("opweave", *init.parent.relative_to(ROOT).parts)))
    assert found == set(CONFIG["packages"])


def test_every_file_lies_in_a_listed_package():
    listed = {folder_of(package) for package in CONFIG["packages"]}
    stray = [
        str(path.relative_to(ROOT))
        for top in ("opweave", *TOPS)
        for path in (ROOT / top).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__" and path.parent not in listed
    ]
    assert not stray, "setuptools leaves these out of the wheel"


def test_the_map_names_every_package():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = text[text.index("## Map") : text.index("The contracts")]
    assert [p for p in CONFIG["packages"] if f"`{p.rsplit('.', 1)[-1]}/`" not in named] == []


@pytest.mark.parametrize("package", CONFIG["packages"])
def test_installed_package_is_this_checkout(package):
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    installed, source = files_of(pathlib.Path(spec.origin).parent), files_of(folder_of(package))
    again = f"{spec.origin} is not built from this checkout: remove build/ and install again"
    assert sorted(installed) == sorted(source), again
    assert [name for name in source if installed[name] != source[name]] == [], again


@pytest.mark.parametrize(
    "target",
    [*TOPS, *(f"opweave/{path.name}" for path in (ROOT / "opweave").iterdir() if path.is_file())],
)
def test_link_points_at_the_source(target):
    link = ROOT / ".types" / "opweave" / pathlib.PurePath(target).name
    if link.is_symlink():
        assert link.resolve() == ROOT / target
    else:  # checked out without symbolic links: git writes the link's text, type checkers miss it
        assert link.read_text(encoding="utf-8") == f"../../{target}"


@pytest.mark.parametrize("top", TOPS)
def test_second_name_is_refused(top):
    run = run_python(f"import {top}", ROOT)
    assert run.returncode != 0
    assert f"import opweave.{top}" in run.stderr


def test_package_works_from_the_root():
    # opweave/ of the checkout comes before an installed opweave there.
    code = "import opweave.cli, opweave.ir; print(opweave.__file__); print(opweave.ir.__file__)"
    run = run_python(code, ROOT)
    assert run.returncode == 0, run.stderr
    face, ir = map(pathlib.Path, run.stdout.split("\n")[:2])
    assert face.resolve() == ROOT / "opweave" / "__init__.py"
    assert ir.resolve() == ROOT / "ir" / "__init__.py"


def test_version_is_the_same_everywhere():
    assert opweave.__version__ == PROJECT["project"]["version"]


def test_public_names():
    assert sorted(opweave.__all__) == sorted([*opweave._PUBLIC, "__version__"])
    assert set(opweave.__all__) <= set(dir(opweave))
    for name, place in opweave._PUBLIC.items():
        module, attribute = place.split(":")
        assert getattr(opweave, name) is getattr(importlib.import_module(module), attribute)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'opweave' has no attribute 'absent'"):
        opweave.absent  # noqa: B018


def test_import_is_light(tmp_path):
    code = f"""
import json, os, sys
import opweave
loaded = [name for name in {HEAVY!r} if name in sys.modules]
import threading
tasks = "/proc/self/task"
native = len(os.listdir(tasks)) if os.path.isdir(tasks) else 1
print(json.dumps([loaded, threading.active_count(), native]))
"""
    run = run_python(code, tmp_path)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [[], 1, 1]


def test_command_gives_its_version(tmp_path):
    command = [sys.executable, "-m", "opweave", "--version"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert opweave.__version__ in run.stdout
