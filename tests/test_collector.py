"""The garbage collector's settings while models are compiled."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from opweave.compiler.collector import young_collections


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_settings_are_put_back_by_the_last_thread() -> None:
    gc.set_threshold(701, 11, 12)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with young_collections():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with young_collections():
        thread.start()
        inside.wait()
    assert gc.get_threshold()[2] > 12
    leave.set()
    thread.join()
    assert gc.get_threshold() == (701, 11, 12)


def test_settings_are_put_back_after_an_error() -> None:
    gc.set_threshold(702, 11, 12)
    with pytest.raises(ZeroDivisionError), young_collections():
        raise ZeroDivisionError
    assert gc.get_threshold() == (702, 11, 12)


def test_a_collector_that_is_off_stays_off() -> None:
    gc.set_threshold(0, 11, 12)
    with young_collections():
        assert gc.get_threshold()[0] == 0
    assert gc.get_threshold()[0] == 0


def test_what_a_program_sets_meanwhile_stays() -> None:
    gc.set_threshold(703, 11, 12)
    with young_collections():
        gc.set_threshold(500, 5, 5)
    assert gc.get_threshold() == (500, 5, 5)
