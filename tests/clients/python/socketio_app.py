"""python-socketio: two servers that share rooms through Redis, clients on both."""

import asyncio

import socketio
import uvicorn
from place import URL


class Node:
    def __init__(self):
        self.sio = socketio.AsyncServer(async_mode="asgi", client_manager=socketio.AsyncRedisManager(URL))
        self.server = uvicorn.Server(uvicorn.Config(socketio.ASGIApp(self.sio), port=0, log_level="warning"))

        @self.sio.event
        async def join(sid, room):
            await self.sio.enter_room(sid, room)
            return "joined"

    async def start(self):
        self.task = asyncio.create_task(self.server.serve())
        while not self.server.started:
            await asyncio.sleep(0.01)
        return self.server.servers[0].sockets[0].getsockname()[1]

    async def stop(self):
        self.server.should_exit = True
        await self.task


async def main():
    nodes = [Node(), Node()]
    ports = [await node.start() for node in nodes]
    clients, heard = [], []
    for number, port in enumerate(ports * 2):
        client = socketio.AsyncClient()
        client.on("news", lambda text, number=number: heard.append((number, text)))
        await client.connect(f"http://127.0.0.1:{port}")
        assert await client.call("join", "room", timeout=20) == "joined"
        clients.append(client)

    async def wait(expected):
        for _ in range(2000):
            if len(heard) >= expected:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"heard only {heard}")

    # The subscription of each server is opened when it starts; a first message may come before the second's.
    for _ in range(200):
        await nodes[0].sio.emit("news", "warm", room="room")
        await asyncio.sleep(0.05)
        if len({number for number, _ in heard}) == 4:
            break
    await asyncio.sleep(0.2)
    heard.clear()
    for n in range(20):
        await nodes[n % 2].sio.emit("news", n, room="room")
    await wait(80)
    for number in range(4):
        assert sorted(text for who, text in heard if who == number) == list(range(20)), heard
    for client in clients:
        await client.disconnect()
    for node in nodes:
        await node.stop()
    print("ok", flush=True)


asyncio.run(main())
