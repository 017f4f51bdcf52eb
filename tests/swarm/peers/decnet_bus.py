"""Runs DECNET's own bus, client and worker registry as the other end of a test, through their public functions.

    decnet_bus.py serve SOCKET              the bus, until SIGTERM
    decnet_bus.py watch SOCKET FILE PATTERN…  appends each event as a JSON line to FILE, until SIGTERM; comes back to a bus
                                            that was gone, and writes {"subscribed": true} when it listens
    decnet_bus.py stop SOCKET WORKER        asks a worker to stop
    decnet_bus.py registry SOCKET WORKER    prints "listening", and what the registry knows of a worker
"""

import asyncio
import dataclasses
import json
import signal
import sys
import time

from decnet.bus.unix_client import UnixSocketBus
from decnet.bus.unix_server import BusServer


def stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return stop


async def serve(socket: str) -> None:
    stop = stop_event()
    server = BusServer(socket, group=None)
    await server.start()
    serving = asyncio.create_task(server.serve_forever())
    await stop.wait()
    serving.cancel()
    await server.close()


async def watch(socket: str, file: str, *patterns: str) -> None:
    stop = stop_event()
    with open(file, "a", buffering=1) as out:

        async def listen(bus: UnixSocketBus, pattern: str) -> None:
            async with bus.subscribe(pattern) as events:
                async for event in events:
                    out.write(json.dumps(event.to_dict()) + "\n")

        async def one_connection() -> None:
            bus = UnixSocketBus(socket, client_name="watcher")
            await bus.connect()
            tasks = [asyncio.create_task(listen(bus, pattern)) for pattern in patterns]
            # The bus answers nothing: an event of our own kind, seen by a second client, says that it has heard us.
            other = UnixSocketBus(socket, client_name="prober")
            await other.connect()
            await other.publish(patterns[0], {"n": 0}, event_type="subscribed")
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await other.close()
            await bus.close()

        async def for_ever() -> None:
            while True:
                try:
                    await one_connection()
                except OSError:
                    pass
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(for_ever())
        await stop.wait()
        watching.cancel()


async def ask_to_stop(socket: str, worker: str) -> None:
    bus = UnixSocketBus(socket, client_name="panel")
    await bus.connect()
    payload = {"action": "stop", "requested_by": "a test", "ts": time.time()}
    await bus.publish(f"system.{worker}.control", payload, event_type="control")
    await bus.close()


async def registry(socket: str, worker: str) -> None:
    from decnet.web.worker_registry import WorkerRegistry

    bus = UnixSocketBus(socket, client_name="api")
    await bus.connect()
    known = WorkerRegistry()
    await known.start(bus)
    print("listening", flush=True)
    while True:
        for status in known.snapshot():
            shown = status.model_dump() if hasattr(status, "model_dump") else dataclasses.asdict(status)
            if shown["name"] == worker and shown["status"] == "ok":
                print(json.dumps(shown, default=str))
                await known.stop()
                await bus.close()
                return
        await asyncio.sleep(0.05)


VERBS = {"serve": serve, "watch": watch, "stop": ask_to_stop, "registry": registry}

if __name__ == "__main__":
    asyncio.run(VERBS[sys.argv[1]](*sys.argv[2:]))
