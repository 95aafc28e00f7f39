"""A peer made of Python's `websockets`, as a process of its own.

It is told what to do by lines of JSON, and tells what it sees by lines of JSON.

    python_websockets.py server [protocol ...]
    python_websockets.py client URL [protocol ...]
"""

import asyncio
import json
import sys

import websockets


def tell(**event):
    print(json.dumps(event), flush=True)


async def obey(socket):
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        command = json.loads(line)
        if command["do"] == "send":
            data = command.get("text")
            if data is None:
                data = bytes.fromhex(command["hex"])
            for _ in range(command.get("count", 1)):
                await socket.send(data)
        elif command["do"] == "close":
            asyncio.create_task(
                socket.close(command.get("code", 1000), command.get("reason", ""))
            )
        elif command["do"] == "terminate":
            socket.transport.abort()


async def serve(socket):
    tell(on="open", protocol=socket.subprotocol or "")
    orders = asyncio.create_task(obey(socket))
    try:
        async for message in socket:
            if isinstance(message, bytes):
                tell(on="binary", hex=message.hex())
            else:
                tell(on="text", text=message)
    except websockets.ConnectionClosed:
        pass
    await socket.wait_closed()
    tell(on="close", code=socket.close_code, reason=socket.close_reason or "")
    orders.cancel()


async def main(role, *rest):
    if role == "server":
        server = await websockets.serve(
            serve,
            "127.0.0.1",
            0,
            subprotocols=list(rest) or None,
            max_size=None,
            max_queue=None,
        )
        tell(on="listening", port=server.sockets[0].getsockname()[1])
        await asyncio.Future()
    else:
        url, *protocols = rest
        async with websockets.connect(
            url, subprotocols=protocols or None, max_size=None, max_queue=None
        ) as socket:
            await serve(socket)


asyncio.run(main(*sys.argv[1:]))
