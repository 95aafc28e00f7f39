"""Echo servers made of Python libraries: python.py LIBRARY

All servers in this folder do the same. They echo text and bytes, close with 4002
"enough" at the text "close me", and kill their process at the text "kill". They
print lines of JSON: the port, then the code and the reason of each close.
"""

import asyncio
import json
import os
import signal
import sys


def tell(**event):
    print(json.dumps(event), flush=True)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


async def run_websockets():
    import websockets

    async def serve(socket):
        try:
            async for message in socket:
                if message == "close me":
                    await socket.close(4002, "enough")
                elif message == "kill":
                    kill()
                else:
                    await socket.send(message)
        except websockets.ConnectionClosed:
            pass
        await socket.wait_closed()
        tell(on="close", code=socket.close_code, reason=socket.close_reason or "")

    server = await websockets.serve(serve, "127.0.0.1", 0, max_size=None)
    tell(on="listening", port=server.sockets[0].getsockname()[1])


async def run_aiohttp():
    from aiohttp import WSMsgType, web

    async def serve(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.type is not WSMsgType.TEXT:
                code = message.data if message.type is WSMsgType.CLOSE else 1006
                tell(on="close", code=code, reason=message.extra or "")
                return socket
            elif message.data == "close me":
                await socket.close(code=4002, message=b"enough")
                return socket
            elif message.data == "kill":
                kill()
            else:
                await socket.send_str(message.data)

    app = web.Application()
    app.add_routes([web.get("/", serve)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    tell(on="listening", port=runner.addresses[0][1])


async def run_tornado():
    from tornado.httpserver import HTTPServer
    from tornado.netutil import bind_sockets
    from tornado.web import Application
    from tornado.websocket import WebSocketHandler

    class Echo(WebSocketHandler):
        def check_origin(self, origin):
            return True  # by default a page of another origin is refused

        def on_message(self, message):
            if message == "close me":
                self.close(4002, "enough")
            elif message == "kill":
                kill()
            else:
                self.write_message(message, binary=isinstance(message, bytes))

        def on_close(self):
            tell(on="close", code=self.close_code, reason=self.close_reason or "")

    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(Application([("/", Echo)])).add_sockets(sockets)
    tell(on="listening", port=sockets[0].getsockname()[1])


async def run_autobahn():
    from autobahn.asyncio.websocket import (
        WebSocketServerFactory,
        WebSocketServerProtocol,
    )

    class Echo(WebSocketServerProtocol):
        def onMessage(self, payload, isBinary):
            if payload == b"close me":
                self.sendClose(4002, "enough")
            elif payload == b"kill":
                kill()
            else:
                self.sendMessage(payload, isBinary)

        def onClose(self, wasClean, code, reason):
            tell(on="close", code=code, reason=reason or "")

    factory = WebSocketServerFactory()
    factory.protocol = Echo
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0)
    tell(on="listening", port=server.sockets[0].getsockname()[1])


async def main(library):
    await globals()[f"run_{library}"]()
    await asyncio.Future()


asyncio.run(main(sys.argv[1]))
