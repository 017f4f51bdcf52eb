"""Runs DECNET's own Python pieces as the other end of a test, through their public functions.

    decnet_peer.py pki DIR WORKER            CA, master identity and a worker's bundle below DIR
    decnet_peer.py forward LOG HOST PORT DIR  forwarder with the bundle in DIR, until SIGTERM
    decnet_peer.py listen LOG JSON PORT DIR   listener with the CA folder DIR, until SIGTERM
    decnet_peer.py ingest LOG DB SECONDS      ingester of LOG's .json into SQLite, until it has read all, or for so long;
                                              then the rows, a JSON array a line
"""

import asyncio
import json
import os
import pathlib
import signal
import sqlite3
import sys
import time

from decnet.swarm import log_forwarder, log_listener, pki

COLUMNS = "timestamp decky service event_type attacker_ip fields msg raw_line"


def make_pki(directory: str, worker: str) -> None:
    root = pathlib.Path(directory)
    ca = pki.ensure_ca(root / "ca")
    master = pki.issue_worker_cert(ca, "decnet-master", ["127.0.0.1", "decnet-master"])
    pki.write_worker_bundle(master, root / "ca" / "master")
    bundle = pki.issue_worker_cert(ca, worker, ["127.0.0.1", worker])
    pki.write_worker_bundle(bundle, root / "ca" / "workers" / worker)


async def until_stopped(make) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await make(stop)


async def ingest(log: str, db: str, seconds: float) -> None:
    os.environ.update(
        DECNET_INGEST_LOG_FILE=log,
        DECNET_BUS_ENABLED="false",
        DECNET_JWT_SECRET="a-secret-of-tests-with-more-than-32-octets",
        DECNET_ADMIN_PASSWORD="No-One-Logs-In-9x",
    )
    from decnet.web import ingester
    from decnet.web.db.factory import get_repository

    repo = get_repository(db_path=db)
    await repo.initialize()
    worker = asyncio.create_task(ingester.log_ingestion_worker(repo))
    size = pathlib.Path(log).with_suffix(".json").stat().st_size
    deadline = time.monotonic() + seconds
    while not worker.done() and time.monotonic() < deadline:
        state = await repo.get_state("ingest_worker_position") or {}
        if state.get("position") == size:
            break
        await asyncio.sleep(0.1)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    for row in sqlite3.connect(db).execute(f"SELECT {COLUMNS.replace(' ', ', ')} FROM logs ORDER BY id"):
        print(json.dumps(row))


def main(verb: str, *args: str) -> None:
    if verb == "pki":
        make_pki(*args)
    elif verb == "forward":
        log, host, port, agent = args
        config = log_forwarder.ForwarderConfig(
            log_path=pathlib.Path(log),
            master_host=host,
            master_port=int(port),
            agent_dir=pathlib.Path(agent),
            state_db=pathlib.Path(log + ".forwarder.db"),
        )
        asyncio.run(until_stopped(lambda stop: log_forwarder.run_forwarder(config, poll_interval=0.05, stop_event=stop)))
    elif verb == "listen":
        log, json, port, ca = args
        config = log_listener.ListenerConfig(
            log_path=pathlib.Path(log),
            json_path=pathlib.Path(json),
            bind_host="127.0.0.1",
            bind_port=int(port),
            ca_dir=pathlib.Path(ca),
        )
        asyncio.run(until_stopped(lambda stop: log_listener.run_listener(config, stop_event=stop)))
    elif verb == "ingest":
        log, db, seconds = args
        asyncio.run(ingest(log, db, float(seconds)))
    else:
        sys.exit(f"unknown verb {verb}")


if __name__ == "__main__":
    main(*sys.argv[1:])
