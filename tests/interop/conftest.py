"""Tests against MindSpore itself: they run where it is installed (extra ``interop``)."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path

import pytest

os.environ.setdefault("GLOG_v", "3")  # MindSpore's log: errors only

# Everywhere else a warning is an error; MindSpore has some of its own, from its import on.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import mindspore
    except ImportError:
        collect_ignore_glob = ["test_*.py"]
    else:
        mindspore.set_context(mode=mindspore.PYNATIVE_MODE, device_target="CPU")
        # It looks for NumPy 1 in its first operation, which fails beside NumPy 2; others do not.
        with contextlib.suppress(SystemError):
            mindspore.Tensor([1.0]).reshape(1, 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and leave MindSpore its warnings."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.interop)
            item.add_marker(pytest.mark.filterwarnings("ignore"))
