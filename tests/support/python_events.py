"""The client of `events_v1.py`, as a process of its own.

It is told what to do by lines of JSON, and tells what it sees by lines of JSON.
With a file of test vectors it tells which of them it gets wrong.

    python_events.py [vectors.json]
"""

import asyncio
import json
import sys

from events_v1 import Malformed, Meaning, RequestError, Retried, Session
from events_v1 import connect, read, write


def tell(**event):
    print(json.dumps(event), flush=True)


def payload_in(written):
    return written["text"] if "text" in written else bytes.fromhex(written["hex"])


def shown(value):
    return {"hex": value.hex()} if isinstance(value, bytes) else {"value": value}


def meaning_in(vector):
    """What a vector says that its frame means."""
    kind = vector["kind"]
    if "payload" in vector:
        value = payload_in(vector["payload"])
    elif "items" in vector:
        value = [payload_in(item) for item in vector["items"]]
    else:
        value = vector.get("text", vector.get("limit"))
    if "join" in vector:
        join = dict(vector["join"])
        value = {**join, "again": True} if join.pop("isRejoin") else join
        value.pop("isRejoin", None)
    if "number" in vector:
        kind, value = "retried", Retried(vector["number"], vector["settled"], value)
    if "opening" in vector:
        value = vector["opening"]
    if "failure" in vector:
        value = RequestError(**vector["failure"])
    return Meaning(kind, value, vector.get("id"))


def comparable(meaning):
    error = meaning.value
    if not isinstance(error, RequestError):
        return meaning
    return meaning._replace(value=(error.message, error.code))


def check(vectors):
    wrong = []
    for vector in vectors["frames"] + vectors["read"]:
        frame, meaning = payload_in(vector["frame"]), meaning_in(vector)
        is_same = comparable(read(frame)) == comparable(meaning)
        if not is_same or vector in vectors["frames"] and write(*meaning) != frame:
            wrong.append(vector)
    for vector in vectors["malformed"]:
        try:
            read(payload_in(vector["frame"]))
            wrong.append(vector)
        except Malformed:
            pass
    return sum(len(vectors[key]) for key in ("frames", "read", "malformed")), wrong


async def answer(value):
    if value == "fail":
        raise RequestError("No such fruit", "unknown-fruit")
    if value == "crash":
        raise ValueError("secret")
    return value[::-1] if isinstance(value, (bytes, str)) else {"got": value}


async def ask(peer, tag, payload):
    try:
        tell(on="reply", tag=tag, **shown(await peer.request(payload)))
    except RequestError as error:
        tell(on="failure", tag=tag, message=error.message, code=error.code)
    except ConnectionError:
        tell(on="lost", tag=tag)


async def retry(peer, session, command):
    """Opens the session, sends what is pending again, and asks something new."""
    await peer.open(session)
    if command.get("renumber"):  # a fault: a number is used for another request
        session.last -= 1
    numbers = list(session.pending)
    if "data" in command:
        numbers.append(session.add(command["data"]))
    for number in numbers:
        try:
            value = await peer.retry(session, number)
            tell(on="reply", number=number, **shown(value))
        except RequestError as error:
            tell(on="failure", number=number, code=error.code)
        except ConnectionError:
            tell(on="lost", number=number)


async def visit(peer, command):
    """Joins a channel, says something there, and leaves it when it hears `bye`."""

    def hear(value):
        if isinstance(value, RequestError):
            return tell(on="removed", message=value.message, code=value.code)
        tell(on="inner", **shown(value))
        if value == "bye":
            asyncio.create_task(peer.leave(channel))

    try:
        channel, snapshot = await peer.join(command["name"], command["data"], hear)
        tell(on="joined", **shown(snapshot))
        await peer.send_in(channel, {"hello": "channel"})
    except RequestError as error:
        tell(on="refused", message=error.message, code=error.code)


async def do(peer, session, command):
    what = command["do"]
    if what == "send":
        # All begin in one turn, so that they go in as few frames as may be.
        sends = []
        for item in command["items"]:
            tag, payload = item.get("tag"), payload_in(item)
            for _ in range(item.get("times", 1)):
                sends.append(ask(peer, tag, payload) if tag else peer.send(payload))
        await asyncio.gather(*sends)
        tell(on="sent", spent=peer.spent)
    elif what == "join":
        await visit(peer, command)
    elif what == "retry":
        await retry(peer, session, command)
    elif what == "ping":
        await peer.ping(command["text"])
        tell(on="pong", text=command["text"])
    elif what == "held":
        await peer.held.wait()
        tell(on="held", spent=peer.spent)
    elif what == "post":
        peer.post(payload_in(command))


async def obey(reader, session, url="", protocols=(), handles=True, limit=2**53 - 1, **_):
    """Connects, and does what it is told until the connection ends."""

    def hear(value):
        tell(on="message", frame=peer.frames, **shown(value))

    on_request = answer if handles else None
    async with connect(
        url, *protocols, on_message=hear, on_request=on_request, limit=limit
    ) as peer:
        tell(on="open", speaks=peer.speaks)
        tasks = set()
        closed = asyncio.create_task(peer.closed())
        while not closed.done():
            line = asyncio.create_task(reader.readline())
            await asyncio.wait({line, closed}, return_when="FIRST_COMPLETED")
            if not line.done():
                line.cancel()
                await asyncio.wait({line})
                break
            command = json.loads(line.result() or '{"do":"close"}')
            if command["do"] == "close":
                break
            tasks.add(asyncio.create_task(do(peer, session, command)))
    tell(on="close", code=await closed)
    for task in tasks:
        task.cancel()


async def main():
    reader = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    session = Session()
    while line := await reader.readline():
        await obey(reader, session, **json.loads(line))


if len(sys.argv) > 1:
    with open(sys.argv[1], encoding="utf-8") as file:
        vectors = json.load(file)
    checked = [check(part) for part in (vectors, vectors["channels"], vectors["retries"])]
    count = sum(count for count, _ in checked)
    tell(on="checked", count=count, wrong=sum((wrong for _, wrong in checked), []))
else:
    asyncio.run(main())
