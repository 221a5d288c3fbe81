"""The plain handler of `receive.py` on FastAPI and on FastStream, served by uvicorn in a process of its own.

Run by `receive.py` in the environment that `frameworks.txt` pins: ``frameworks.py NAME KAFKA TOPIC`` prints
the port it listens on, and serves until it is ended. The producer is set as the plain handler's; FastStream
wraps the same one. Neither verifies, routes nor limits anything.
"""

import asyncio
import gc
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn  # type: ignore[import-not-found]  # in an environment of its own
import uvloop

ID = "0123456789abcdef0123456789abcdef"
PRODUCER: dict[str, Any] = {
    "acks": "all", "enable_idempotence": True, "linger_ms": 0, "max_batch_size": 256 * 1024,
    "max_request_size": 16 * 1024 * 1024,
}  # fmt: skip


def fastapi(kafka: str, topic: str) -> Any:
    """Make the application on FastAPI and aiokafka."""
    from aiokafka import AIOKafkaProducer  # noqa: PLC0415 each is imported alone
    from fastapi import FastAPI, Request, Response  # type: ignore[import-not-found]  # noqa: PLC0415

    @asynccontextmanager
    async def life(app: Any) -> AsyncIterator[None]:
        app.state.producer = producer = AIOKafkaProducer(bootstrap_servers=kafka, **PRODUCER)
        await producer.start()
        yield
        await producer.stop()

    app = FastAPI(lifespan=life)

    async def take(request: Request) -> Response:
        body = await request.body()
        await app.state.producer.send_and_wait(topic, body, key=b"bench", partition=0)
        return Response()

    app.post("/hooks/{id}")(take)
    return app


def faststream(kafka: str, topic: str) -> Any:
    """Make the application on FastStream's ASGI and its broker."""
    from faststream.asgi import AsgiFastStream, AsgiResponse, Request, post  # type: ignore[import-not-found]  # noqa: PLC0415
    from faststream.kafka import KafkaBroker  # type: ignore[import-not-found]  # noqa: PLC0415

    broker = KafkaBroker(kafka, logger=None, **PRODUCER)

    async def take(request: Request) -> AsgiResponse:
        await broker.publish(await request.body(), topic, key=b"bench", partition=0)
        return AsgiResponse(b"", 200)

    return AsgiFastStream(broker, logger=None, asgi_routes=[(f"/hooks/{ID}", post(take))])


async def main() -> None:
    """Serve on a free port."""
    name, kafka, topic = sys.argv[1:]
    app = {"FastAPI": fastapi, "FastStream": faststream}[name](kafka, topic)
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", access_log=False, log_level="error"))
    serving = asyncio.create_task(server.serve([listening]))
    while not server.started:  # noqa: ASYNC110 it has no event to wait for
        await asyncio.sleep(0.05)
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 10, 10)
    print(listening.getsockname()[1], flush=True)
    await serving


if __name__ == "__main__":
    uvloop.run(main())
