"""A client of `events.v1` over `websockets`, made from docs/protocol.md alone.

    async with connect("ws://localhost:3000", on_message=print) as peer:
        await peer.send("hello")
        print(await peer.request({"type": "sum", "numbers": [1, 2]}))
"""

import asyncio
import json
import math
import re
from collections import deque
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import websockets

KINDS = {"=": "message", "?": "request", "!": "reply", "~": "failure"}
KINDS |= {"[": "batch", "<": "ping", ">": "pong", "+": "credit"}
KINDS |= {"-": "part", ".": "last part"}
KINDS |= {"j": "join", "c": "inner", "l": "leave"}
KINDS |= {"k": "open", "q": "retried"}
SIGNS = {kind: sign for sign, kind in KINDS.items()}
NO_LIMIT = 2**53 - 1
MAX_BATCH, MAX_ITEMS = 65_536, 1_024
PART, MIN_PART = 16_384, 4_096


class Malformed(ValueError):
    """A frame that ends the connection with 1002."""


class RequestError(Exception):
    """Why a request has no answer."""

    def __init__(self, message, code=None):
        super().__init__(message)
        self.message, self.code = message, code


class Retried(NamedTuple):
    """A request that may come again."""

    number: int
    settled: int
    payload: Any


class Meaning(NamedTuple):
    kind: str
    value: Any = None  # a payload, a text, a number, items, or an error
    id: int | None = None


def is_marked(frame):
    return frame[:1] in ("\x01", b"\xc1")


def read(frame):
    """What a frame means."""
    if not is_marked(frame):
        return Meaning("plain", frame)
    is_text = isinstance(frame, str)
    sign, rest = frame[1:2], frame[2:]
    kind = KINDS.get(sign if is_text else sign.decode("latin-1"))
    if kind in ("join", "inner", "leave"):
        return read_channel(kind, rest)
    if kind in ("open", "retried"):
        return read_retry(kind, rest)
    if re.fullmatch("[a-z]" if is_text else b"[a-z]", sign):
        return Meaning("unknown")
    if is_text and kind == "failure":
        id, rest = read_address(rest)
        return Meaning(kind, read_error(rest), id)
    if is_text and kind in ("ping", "pong") and len(rest.encode()) <= 125:
        return Meaning(kind, rest)
    if is_text and kind == "credit":
        return Meaning(kind, read_number(rest, 0, NO_LIMIT))
    if kind == "message":
        return Meaning(kind, rest)
    if kind in ("request", "reply"):
        id, rest = read_address(rest)
        return Meaning(kind, rest, id)
    if kind == "part" and size(rest) >= MIN_PART or kind == "last part" and rest:
        return Meaning(kind, rest)
    if kind == "batch":
        items = rest.split("\x1e") if is_text else list(read_items(rest))
        if not any(item[:2] == frame[:2] for item in items):
            return Meaning(kind, items)
    raise Malformed("Not a frame of events.v1")


def read_address(rest):
    if isinstance(rest, str):
        id, comma, payload = rest.partition(",")
        return read_number(id if comma else "", 1, 2**32 - 1), payload
    id = int.from_bytes(rest[:4], "big")
    if len(rest) < 4 or id == 0:
        raise Malformed("Not an id")
    return id, rest[4:]


def read_channel(kind, rest):
    if kind == "inner":
        id, rest = read_address(rest)
        return Meaning(kind, rest, id)
    if isinstance(rest, bytes):
        raise Malformed("Not a text")
    if kind == "leave" and "," not in rest:
        return Meaning(kind, None, read_number(rest, 1, 2**32 - 1))
    id, rest = read_address(rest)
    if kind == "leave":
        return Meaning(kind, read_error(rest), id)
    join = value_of(rest)
    if not isinstance(join, dict) or not isinstance(join.get("name"), str):
        raise Malformed("Not a join")
    data = {"data": join["data"]} if "data" in join else {}
    again = {"again": True} if join.get("again") is True else {}
    return Meaning(kind, {"name": join["name"], **data, **again}, id)


def read_retry(kind, rest):
    id, rest = read_address(rest)
    if kind == "open":
        opening = value_of(rest) if isinstance(rest, str) else None
        return Meaning(kind, read_opening(opening), id)
    if isinstance(rest, bytes):
        number, settled = (int.from_bytes(rest[at : at + 4], "big") for at in (0, 4))
        if len(rest) < 8 or settled >= number:
            raise Malformed("Not the numbers of a request")
        return Meaning(kind, Retried(number, settled, rest[8:]), id)
    number, _, rest = rest.partition(",")
    settled, comma, payload = rest.partition(",")
    number = read_number(number, 1, 2**32 - 1)
    settled = read_number(settled if comma else "", 0, number - 1)
    return Meaning(kind, Retried(number, settled, payload), id)


def read_opening(opening):
    if not isinstance(opening, dict):
        raise Malformed("Not an opening")
    last = opening.get("last", 0)
    if type(last) is not int or not 0 <= last < 2**32:
        raise Malformed("Not a number of a request")
    token = opening.get("token")
    if "token" not in opening:
        return {"last": last}
    if not isinstance(token, str) or not re.fullmatch("[A-Za-z0-9_-]{1,128}", token):
        raise Malformed("Not a token")
    return {"token": token, "last": last}


def read_number(digits, least, most):
    if re.fullmatch("0|[1-9][0-9]{0,15}", digits) and least <= int(digits) <= most:
        return int(digits)
    raise Malformed("Not a number that may stand here")


def read_items(rest):
    if not rest:
        raise Malformed("Not a batch without items")
    while rest:
        end = 4 + int.from_bytes(rest[:4], "big")
        if len(rest) < end:
            raise Malformed("Not a whole item")
        yield rest[4:end]
        rest = rest[end:]


def read_error(text):
    error = value_of(text)
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        raise Malformed("Not an error")
    code = error.get("code")
    return RequestError(error["message"], code if isinstance(code, str) else None)


def write(kind, value, id=None):
    """The frame that means this."""
    if kind == "plain":
        return value
    if kind == "failure":
        code = {} if value.code is None else {"code": value.code}
        value = payload_of({"message": value.message, **code})
    if kind == "leave":
        code = {"code": value.code} if value and value.code is not None else {}
        rest = f",{payload_of({'message': value.message, **code})}" if value else ""
        return f"\x01l{id}{rest}"
    if kind in ("join", "open"):
        value = payload_of(value)
    if kind == "retried":
        number, settled, value = value
        if isinstance(value, bytes):
            value = number.to_bytes(4, "big") + settled.to_bytes(4, "big") + value
        else:
            value = f"{number},{settled},{value}"
    if kind == "batch" and isinstance(value[0], bytes):
        value = b"".join(len(item).to_bytes(4, "big") + item for item in value)
    elif kind == "batch":
        value = "\x1e".join(value)
    if isinstance(value, bytes):
        address = b"" if id is None else id.to_bytes(4, "big")
        return b"\xc1" + SIGNS[kind].encode() + address + value
    return f"\x01{SIGNS[kind]}{'' if id is None else f'{id},'}{value}"


def escape(payload):
    """The frame of a message."""
    return write("message" if is_marked(payload) else "plain", payload)


def pack(frames):
    """The same in fewer frames: neighbours of one type go as a batch."""
    batches, size = [], MAX_BATCH
    for frame in frames:
        is_text = isinstance(frame, str)
        more = 1 + len(frame.encode()) if is_text else 4 + len(frame)
        is_single = is_text and "\x1e" in frame
        fits = size + more <= MAX_BATCH and type(batches[-1][0]) is type(frame)
        if not fits or is_single or len(batches[-1]) == MAX_ITEMS:
            batches.append([])
            size = MAX_BATCH if is_single else 2
        batches[-1].append(frame)
        size += more
    return [one[0] if len(one) == 1 else write("batch", one) for one in batches]


def size(frame):
    """How large it is; texts count in UTF-16 code units."""
    is_text = isinstance(frame, str)
    return len(frame.encode("utf-16-le")) // 2 if is_text else len(frame)


def cost(frame):
    """What a message or a request costs."""
    return 1 + size(frame) // 16_384


def parts_of(frame):
    """The same in parts, if it is larger than any batch."""
    if size(frame) <= MAX_BATCH:
        return [frame]
    parts = [frame[at : at + PART] for at in range(0, len(frame), PART)]
    return [write("part", part) for part in parts[:-1]] + [write("last part", parts[-1])]


def payload_of(value):
    if isinstance(value, (str, bytes)):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def value_of(payload):
    """A text is JSON or itself; unlike Python, JSON knows no NaN nor Infinity."""
    if isinstance(payload, bytes):
        return payload
    try:
        return json.loads(payload, parse_constant=int)
    except (ValueError, RecursionError):
        return payload


class Session:
    """What a client keeps from connection to connection for requests it sends again."""

    def __init__(self):
        self.token, self.last = None, 0
        self.pending = {}  # payloads by number, in the order of the numbers

    def opened(self, token):
        """Takes the token that the server gives; a new one begins a new session."""
        if token != self.token:
            self.token, self.last, self.pending = token, 0, {}

    def add(self, value):
        """The number of one more request."""
        self.last += 1
        self.pending[self.last] = payload_of(value)
        return self.last

    def retried(self, number):
        """A request as it is sent, for the first time or again."""
        return Retried(number, min(self.pending) - 1, self.pending[number])


class Peer:
    """The server, as its client sees it. Methods take and give values."""

    def __init__(self, socket, on_message, on_request, limit):
        self._socket = socket
        self._on_message, self._on_request = on_message, on_request
        spoken = (socket.subprotocol or "").partition("+")[0]
        self.speaks = spoken in ("events.v1", "events.v1-parts")
        self.has_parts = spoken == "events.v1-parts"
        self._parts, self._said_at = [], 0
        self.spent = 0  # what all that was sent has cost
        self.frames = 0  # how many have come
        self.held = asyncio.Event()  # something waits for credit
        self._limit = 1_024 if self.speaks else math.inf
        self._free, self._counted, self._wake = [], deque(), asyncio.Event()
        self._last_id, self._answers, self._pongs = 0, {}, {}
        self._waiting, self._tasks, self._has_ended = set(), set(), False
        self._channels = {}
        if self.speaks and limit is not None:
            self.post(write("credit", limit))

    async def send(self, value):
        """Sends a message, when there is credit for it."""
        payload = payload_of(value)
        await self._spend(escape(payload) if self.speaks else payload)

    async def request(self, value):
        """Asks, and gives the answer, or raises a RequestError."""
        if not self.speaks:
            raise RuntimeError("The server does not speak events.v1")
        return value_of(await self._ask("request", payload_of(value)))

    async def open(self, session):
        """Opens a session on this connection, before any request of it is sent."""
        token = {} if session.token is None else {"token": session.token}
        answer = value_of(await self._ask("open", {**token, "last": session.last}))
        session.opened(read_opening(answer)["token"])

    async def retry(self, session, number):
        """Asks, for the first time or again; it stays pending if there is no answer."""
        try:
            answer = await self._ask("retried", session.retried(number))
        except RequestError as error:
            if error.code != "retry-later":
                del session.pending[number]
            raise
        del session.pending[number]
        return value_of(answer)

    async def _ask(self, kind, value):
        self._last_id = id = self._last_id + 1
        self._answers[id] = answer = self._future()
        try:
            await self._spend(write(kind, value, id))
            return await answer
        finally:
            del self._answers[id]

    async def join(self, name, data=None, on_message=lambda value: None):
        """Joins a channel, and gives its number and the snapshot, or raises."""
        self._last_id = id = self._last_id + 1
        self._answers[id] = answer = self._future()
        self._channels[id] = on_message
        try:
            await self._spend(write("join", {"name": name, "data": data}, id))
            return id, value_of(await answer)
        except RequestError:
            del self._channels[id]
            raise
        finally:
            del self._answers[id]

    async def send_in(self, channel, value):
        """Sends a message in a channel."""
        await self._spend(write("inner", escape(payload_of(value)), channel))

    async def leave(self, channel):
        """Leaves a channel."""
        del self._channels[channel]
        await self._spend(write("leave", None, channel))

    async def ping(self, text=""):
        """Sends a ping, and waits for the pong."""
        if text not in self._pongs:
            self._pongs[text] = self._future()
            self.post(write("ping", text))
        await self._pongs[text]

    def post(self, frame):
        """Sends a frame that costs nothing."""
        self._free.append(frame)
        self._wake.set()

    async def closed(self):
        await self._socket.wait_closed()
        return self._socket.close_code

    async def _spend(self, frame):
        written = self._future()
        self._counted.append((frame, written))
        self._wake.set()
        await written

    def _future(self):
        if self._has_ended:
            raise ConnectionError("The connection has ended")
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    async def _write(self):
        """Writes what may be written, whenever there is more to write."""
        while await self._wake.wait():
            self._wake.clear()
            self.held.clear()
            frames, self._free, done = self._free, [], []
            while self._counted and self.spent < self._limit:
                frame, written = self._counted.popleft()
                self.spent += cost(frame)
                frames.append(frame)
                done.append(written)
            for frame in pack(frames) if self.speaks else frames:
                for part in parts_of(frame) if self.has_parts else [frame]:
                    await self._socket.send(part)
            settle(done)
            if self._counted and self.spent >= self._limit:
                self.held.set()

    async def _read(self):
        try:
            async for frame in self._socket:
                self.frames += 1
                self._take(read(frame) if self.speaks else Meaning("plain", frame))
        except Malformed as error:
            await self._socket.close(1002, str(error))
        except websockets.ConnectionClosed:
            pass
        finally:
            self._has_ended = True
            settle(self._waiting, error=ConnectionError("The connection has ended"))

    def _join(self, part, is_last):
        """Takes a part, and what all make if it is the last."""
        now = asyncio.get_running_loop().time()
        self._parts, parts = [*self._parts, part], self._parts
        if not self.has_parts or parts and type(parts[0]) is not type(part):
            raise Malformed("Not a part that may stand here")
        if not parts:
            self._said_at = now
        elif now - self._said_at >= 1:
            self._said_at = now
            self.post(write("pong", "parts"))
        if is_last:
            frame, self._parts = part[:0].join(self._parts), []
            meaning = read(frame)
            if "part" in meaning.kind:
                raise Malformed("Not a part that may stand here")
            self._take(meaning)

    def _take(self, meaning):
        kind, value, id = meaning
        if kind == "batch":
            for item in value:
                meaning = read(item)
                if "part" in meaning.kind:
                    raise Malformed("Not a part that may stand here")
                self._take(meaning)
        elif kind in ("part", "last part"):
            self._join(value, kind == "last part")
        elif kind in ("plain", "message"):
            self._on_message(value_of(value))
        elif kind == "inner":
            meaning = read(value)
            if meaning.kind in ("plain", "message"):
                on_message = self._channels.get(id, lambda value: None)
                on_message(value_of(meaning.value))
            elif meaning.kind != "unknown":
                raise Malformed("Not a frame that may stand in a channel")
        elif kind == "leave":
            on_message = self._channels.pop(id, lambda value: None)
            on_message(value)
        elif kind == "request":
            task = asyncio.create_task(self._answer(id, value_of(value)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif kind in ("reply", "failure"):
            if id > self._last_id:
                raise Malformed("Not an answer to a request")
            answer = [self._answers[id]] if id in self._answers else []
            settle(answer, value, value if kind == "failure" else None)
        elif kind == "ping":
            self.post(write("pong", value))
        elif kind == "pong" and value in self._pongs:
            settle([self._pongs.pop(value)])
        elif kind == "credit":
            self._limit = max(self._limit, math.inf if value == NO_LIMIT else value)
            self._wake.set()

    async def _answer(self, id, value):
        try:
            if self._on_request is None:
                raise RequestError("No handler for this request: add one with handle()", "unhandled")
            answer = payload_of(await self._on_request(value))
            self.post(write("reply", answer, id))
        except RequestError as error:
            self.post(write("failure", error, id))
        except Exception:
            self.post(write("failure", RequestError("It failed", "internal"), id))


def settle(futures, value=None, error=None):
    for future in [future for future in futures if not future.done()]:
        future.set_exception(error) if error else future.set_result(value)


@asynccontextmanager
async def connect(
    url, *protocols, on_message=lambda value: None, on_request=None, limit=NO_LIMIT
):
    """Connects, with subprotocols of the program's own or none.

    `on_request` is awaited for the answer; `limit` is the credit for the server.
    """
    ends = [*(f"+{protocol}" for protocol in protocols), ""]
    tokens = [base + end for end in ends for base in ("events.v1-parts", "events.v1")]
    offers = [*(protocols or ["plain"]), *tokens]
    async with websockets.connect(url, subprotocols=offers, max_size=None) as socket:
        peer = Peer(socket, on_message, on_request, limit)
        tasks = [asyncio.create_task(run()) for run in (peer._write, peer._read)]
        try:
            yield peer
        finally:
            await socket.close()
            await tasks[1]
            tasks[0].cancel()
