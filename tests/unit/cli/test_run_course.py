"""`spotguard run` with a helper that hangs: a process of its own, since it takes over signals and children."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

HUNG = """
import signal, sys, time
from spotguard.cli import run_course
from spotguard.cli.run_order import RunOrder, Work

run_course._GIVE_UP_SECONDS = 0.2

def hang():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("hangs", flush=True)
    time.sleep(600)
    return 0

def restore(link):
    if sys.argv[1] == "restore":
        return hang()
    link.send({"restoring": True})
    link.send({"point": {"checkpoint": None, "stage": None, "step": None}})
    return 0

order = RunOrder(["true"], grace_seconds=0.1, strict=False, again=False, environment={})
sys.exit(run_course.RunCourse(order, Work(restore, lambda link: hang())).run())
"""


@pytest.mark.parametrize("helper", ["restore", "guard"])
def test_a_helper_that_hangs_before_the_command_is_started_does_not_hold_up_the_end(helper: str) -> None:
    with subprocess.Popen([sys.executable, "-c", HUNG, helper], stdout=subprocess.PIPE) as run:
        try:
            assert run.stdout is not None
            assert run.stdout.readline() == b"hangs\n"
            run.send_signal(signal.SIGTERM)
            assert run.wait(10) == 75
        finally:
            run.kill()
