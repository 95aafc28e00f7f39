"""The same on Python's websockets."""

import asyncio

import websockets

clients = set()


async def handle(socket):
    clients.add(socket)
    try:
        async for message in socket:
            if socket.path == "/all":
                websockets.broadcast(clients - {socket}, message)
            else:
                await socket.send(message)
    except websockets.ConnectionClosed:
        pass
    finally:
        clients.discard(socket)


async def main():
    async with websockets.serve(handle, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


asyncio.run(main())
