"""Functions of Python as subroutines of swarmd, kept alive: `workers = { min = 1, max = 4 }`.

Decorate functions with `@subroutine` and call `serve()`; each serves the calls of its own name (`_` for `-`). A batch returns bytes or text, or
yields parts of them; a stream yields items, or (ident, item); a send gets a binary file to read from, and returns an integer. What a function
raises is what its caller is told. A generator is closed when nobody waits any longer; others ask `call.cancelled()`.
"""

import io, json, os, select, struct, sys, traceback

PIECE = 1 << 18
functions = {}


def subroutine(function):
    functions[function.__name__] = function
    return function


class Call(io.RawIOBase):
    """What is known of the call that runs (id, kind, caller, deadline_ms), and its input."""

    def begin(self, head):
        self.__dict__.update(json.loads(head), piece=b"", more=True, given_up=False)

    def cancelled(self):
        while not self.more and not self.given_up and select.select([STDIN], [], [], 0)[0]:
            self.given_up = receive()[0] == b"X"
        return self.given_up

    def readable(self):
        return True

    def close(self):
        pass  # It goes on with the next call.

    def readinto(self, buffer):
        while not self.piece and self.more:
            kind, self.piece = receive()
            self.more, self.given_up = kind == b"D", kind == b"X"
            if self.given_up:
                raise EOFError("the call was given up")
        size = min(len(buffer), len(self.piece))
        buffer[:size], self.piece = self.piece[:size], self.piece[size:]
        return size


call = Call()


def read(size):
    data = bytearray()
    while len(data) < size:
        if not (piece := os.read(STDIN, size - len(data))):
            raise SystemExit  # The gateway is gone.
        data += piece
    return bytes(data)


def receive():
    frame = read(*struct.unpack(">I", read(4)))
    return frame[:1], frame[1:]


def send(kind, *payload):
    frame = b"".join(payload)
    frame = memoryview(struct.pack(">Ic", 1 + len(frame), kind) + frame)
    while frame:
        frame = frame[os.write(STDOUT, frame):]


def text(value):
    if not isinstance(value, (str, bytes, bytearray)):
        raise wrong(value, "bytes or text")
    return value.encode() if isinstance(value, str) else value


def wrong(value, due):
    return TypeError(f"`{call.subroutine}` gave {type(value).__name__} in place of {due}")


def missing(*args, **kwargs):
    raise LookupError(f"this worker has no function for `{call.subroutine}`")


def answer(function):
    buffer = io.BufferedReader(call, PIECE)
    if call.kind == "send":
        value = function(buffer) or 0
        if not isinstance(value, int):
            raise wrong(value, "an integer")
        return send(b"V", struct.pack(">q", value))
    raw = buffer.read()
    given = call.__dict__.pop("args", {"args": [raw], "kwargs": {}})
    result = function(*given["args"], **given["kwargs"])
    if call.kind == "batch" and (result is None or isinstance(result, (str, bytes, bytearray))):
        result = [result or b""]
    if isinstance(result, dict) or not hasattr(result, "__iter__"):
        raise wrong(result, "bytes or text, or some of them")
    for number, item in enumerate(result):
        if call.cancelled():
            getattr(result, "close", bool)()
            break
        if call.kind == "stream":
            ident, item = item if isinstance(item, tuple) else (number, item)
            send(b"I", struct.pack(">q", ident), text(item))
        else:
            item = text(item)
            for start in range(0, len(item), PIECE):
                send(b"P", item[start:start + PIECE])
    send(b"E")


def serve(function=None):
    """Serves calls until the gateway ends it; those of all names by `function`, if there is one."""
    global STDIN, STDOUT
    # Nobody else may read or write there: what is printed goes to the gateway's log.
    STDIN, STDOUT = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)
    while True:
        kind, head = receive()
        if kind != b"C":
            continue  # The rest of a call that is over.
        call.begin(head)
        try:
            answer(function or functions.get(call.subroutine.replace("-", "_"), missing))
        except Exception as err:
            traceback.print_exc()
            send(b"F", f"{type(err).__name__}: {err}".encode(errors="replace")[:PIECE])
