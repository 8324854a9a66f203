#!/usr/bin/env python3
"""A simulated sensor: its mean, its readings as they come, and a check against references. See `swarmd.toml` beside it."""

import math
import time

from swarmwire_worker import call, serve, subroutine


def reading(number):
    return round(20 + 5 * math.sin(number / 10), 3)


@subroutine
def mean(count=10, digits=2):
    return str(round(sum(map(reading, range(count))) / count, digits))


@subroutine
def readings(pause=0.1, limit=None):
    number = 0
    while limit is None or number < limit:
        yield number, str(reading(number))
        number += 1
        time.sleep(pause)


@subroutine
def check(data):
    """Takes lines of references, and gives how many of them the sensor misses by more than 0.5."""
    missed = sum(abs(float(line) - reading(number)) > 0.5 for number, line in enumerate(data))
    print(f"checked by {call.caller}: {missed} missed")
    return missed


serve()
