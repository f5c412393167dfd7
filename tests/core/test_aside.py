"""What stands aside is done on a thread that is scheduled last, and is not starved by other processes."""

from __future__ import annotations

import os
import threading
import time

import pytest

from xplain.core.aside import aside, can_stand_aside, standing_aside


def done(run):
    beside = aside()
    return run() if beside is None else beside(run)


pytestmark = pytest.mark.skipif(not can_stand_aside(), reason="no threads here that are scheduled last")


def who():
    return threading.get_ident(), os.sched_getscheduler(threading.get_native_id())


def test_it_is_done_elsewhere_where_a_thread_stands_aside_and_here_otherwise():
    here = who()
    assert done(who) == here
    with standing_aside():
        other, policy = done(who)
        assert other != here[0]
        assert policy == os.SCHED_IDLE
        assert who() == here
        seen = []
        beside = threading.Thread(target=lambda: seen.append(done(threading.get_ident) == threading.get_ident()))
        beside.start()
        beside.join()
        assert seen == [True]  # another thread does not stand aside
    assert done(who) == here


def test_errors_arrive_and_the_thread_ends():
    def fails():
        raise ValueError("of the run")

    def standing():
        return {one for one in threading.enumerate() if one.name == "xplain-aside"}

    before = standing()  # of other tests' servers
    with standing_aside():
        with pytest.raises(ValueError, match="of the run"):
            done(fails)
        assert done(lambda: 3) == 3
        (own,) = standing() - before
    own.join(10)
    assert not own.is_alive()


def test_every_other_run_is_done_here_while_others_leave_nothing():
    def starved():
        time.sleep(0.05)  # takes long and no processor time, as where it is not scheduled
        return threading.get_ident()

    here = threading.get_ident()
    with standing_aside():
        assert [done(starved) == here for _ in range(4)] == [False, True, False, True]


def test_a_sandbox_that_forbids_it_changes_nothing_else(monkeypatch):
    def forbidden(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    with standing_aside():
        assert done(lambda: 5) == 5
