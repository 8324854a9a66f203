"""A worker that does whatever a test asks it to: the first argument says what."""

import json
import os
import select
import signal
import sys
import time

import swarmwire_worker
from swarmwire_worker import call, serve


PARENT = os.getppid()


def wait(pause=0.02):
    """For ever, but not for much longer than the gateway."""
    while os.getppid() == PARENT:
        time.sleep(pause)
    os._exit(9)


def batch(what, *args, **kwargs):
    if what == "pid":
        return str(os.getpid())
    if what == "echo":
        return json.dumps([args, kwargs])
    if what == "about":
        return json.dumps([call.subroutine, call.id, call.kind, len(call.caller), call.deadline_ms])
    if what == "parts":
        return (bytes([number % 256]) * args[1] for number in range(args[0]))
    if what == "say":
        print(args[0])
        return ""
    if what == "raise":
        raise ValueError(args[0])
    if what == "die":
        print("the lamp is broken", file=sys.stderr, flush=True)
        os._exit(3)
    if what == "half":
        return half(*args)
    if what == "garbage":
        os.write(swarmwire_worker.STDOUT, args[0].encode("latin-1"))
        wait()
    if what == "after":
        os.write(swarmwire_worker.STDOUT, b"\0\0\0\x02Px\0\0\0\x01E\0\0\0\x02Py")
        wait()
    if what == "orphan":
        orphan()
    if what == "deaf":
        wait()
    if what == "patient":
        while not call.cancelled() and os.getppid() == PARENT:
            time.sleep(0.001)
        mark(args[0])
        return ""
    raise SystemExit(f"what is {what}?")


def half(how):
    yield "one "
    # In one piece, with what is no frame right behind it.
    garbage = b"\0\0\0\0" if how == "garbage" else b""
    os.write(swarmwire_worker.STDOUT, b"\0\0\0\x04Ptwo" + garbage)
    if how == "raise":
        raise ValueError("the film is over")
    if how == "die":
        os._exit(3)
    wait()


def stream(what, *args):
    if what == "hold":
        yield str(os.getpid())
        while True:
            yield ""
    if what == "count":
        for number in range(args[0]):
            yield number, str(number)
    if what == "broken":
        yield "one"
        raise ValueError("the film is over")
    if what == "large":
        for number in range(args[0]):
            mark(args[1], number)
            yield bytes(1 << 20)
    if what == "closed":
        try:
            number = 0
            while True:
                yield f"{os.getpid()} {number}"
                number += 1
        finally:
            mark(args[0])


def send(data):
    if data.peek(5).startswith(b"early"):
        return 5
    if data.peek(4).startswith(b"wait"):
        place = data.readline().decode().split()[1]
        while not os.path.exists(place) and os.getppid() == PARENT:
            time.sleep(0.001)
    size = 0
    while piece := data.read(100_000):
        size += len(piece)
    return size


def raw(data):
    return data[::-1]


def orphan():
    """Ends, and has a child that has left its group answer after that, and keep the output open."""
    left, has_left = os.pipe()
    if os.fork():
        os.read(left, 1)
        os._exit(0)
    worker = os.getppid()
    os.setsid()
    for descriptor in 0, 1, 2, swarmwire_worker.STDIN:
        os.close(descriptor)
    os.write(has_left, b"1")
    while os.getppid() == worker:
        time.sleep(0.001)
    output = swarmwire_worker.STDOUT
    os.write(output, b"\0\0\0\x02Px\0\0\0\x01E")
    closed = select.poll()
    closed.register(output, select.POLLERR)
    closed.poll(60_000)
    os._exit(0)


def mark(place, text=""):
    """At no moment is half of it there."""
    with open(place + ".new", "w") as file:
        file.write(f"{os.getpid()} {text}")
    os.rename(place + ".new", place)


if "--stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mark(sys.argv[1])
    wait(5)
serve({"batch": batch, "stream": stream, "send": send, "raw": raw}[sys.argv[1]])
