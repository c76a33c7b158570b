"""Python imports this first where the folder is on its path: the wall clock is wrong by TEST_CLOCK_SKEW_S."""

import os
import time

_skew_ns = int(float(os.environ["TEST_CLOCK_SKEW_S"]) * 1e9)
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _skew_ns / 1e9
time.time_ns = lambda: _time_ns() + _skew_ns
