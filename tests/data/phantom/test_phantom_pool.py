"""Studies made by several processes, also from a process whose libraries have threads already."""

import subprocess
import sys

CODE = """
import cv2, numpy as np
from medmm.data.phantom.pool import in_order
cv2.setNumThreads(4)
cv2.GaussianBlur(np.zeros((2000, 2000), np.float32), (0, 0), 3)  # its threads are running now
def blurred(number):
    return float(cv2.GaussianBlur(np.full((400, 400), number, np.float32), (0, 0), 3).mean())
made = list(in_order(blurred, list(range(20)), 2, 3))
assert [round(one, 3) for one in made] == list(range(20)), made
assert cv2.getNumThreads() == 4
"""


def test_processes_do_not_wait_for_threads_that_they_do_not_have():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
