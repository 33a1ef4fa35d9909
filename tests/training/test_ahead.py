"""Work one step ahead: the same results in the same order, never more than one step ahead, and no thread is left."""

import threading

import pytest

from inkwash.training.ahead import Ahead


def test_results_are_those_of_the_steps_that_are_asked_for_in_any_order():
    with Ahead(lambda step: step**2, 10) as ahead:
        assert [ahead.take(step) for step in (3, 4, 5, 2, 9)] == [9, 16, 25, 4, 81]


def test_the_next_step_is_worked_on_meanwhile_and_none_after_the_last():
    begun, until = [], threading.Event()

    def work(step):
        begun.append(step)
        if step == 2:
            until.set()
        return step

    with Ahead(work, 3) as ahead:
        ahead.take(1)
        assert until.wait(10)  # nobody has asked for step 2
        ahead.take(2)
    assert begun == [1, 2]


def test_an_error_is_raised_at_its_own_step_and_the_thread_ends():
    def work(step):
        if step == 1:
            raise OSError("the disk is gone")
        return step

    before = threading.active_count()
    with Ahead(work, 5) as ahead:
        assert ahead.take(0) == 0
        with pytest.raises(OSError, match="the disk is gone"):
            ahead.take(1)
    assert threading.active_count() == before
