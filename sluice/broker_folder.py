"""The data folder of an embedded Kafka: its lock, its stamp, its settings, and the ports it uses.

`sluice.json` is the stamp, `records/` is Kafka's own; beside them are `server.properties`, `broker.log`,
`lock` and `tmp/`.
"""

import fcntl
import json
import os
import random
import re
import shutil
import socket
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from sluice.java import ROOTS, BrokerError

HOST = "127.0.0.1"
FORMAT = 1
"""The layout of a data folder; another number is refused."""

GRACE = 10.0
"""Seconds that Kafka has for a clean end; seen 0.2-0.4 s."""

KEEP_LOG = 16 * 1024 * 1024
"""Bytes above which a start moves the log aside (one older log is kept)."""

_KAFKA = ROOTS[0].rsplit(":", 1)[1]
_PORTS = range(15000, 32000)
"""Below what systems give to outgoing connections: a client that knocks at a port of that range while
Kafka is away may end up connected to itself, and Kafka's return would be refused."""

ONE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "transaction.partition.verification.enable": "true",
    # An expired transaction holds back read-committed readers until the broker looks: every 10 s by default.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "message.max.bytes": str(4 * 1024 * 1024),
    # The cleaner's map lives in the heap: 128 MiB by default, 16 MiB hold 600,000 keys a pass.
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    # Two files of this size a partition, sparse where the file system can.
    "log.index.size.max.bytes": str(1024 * 1024),
    # A killed broker's registration must lapse before the next start is taken: 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where `sluice up` keeps Kafka's records: the user's data folder."""
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "sluice" / "kafka"


@dataclass(frozen=True)
class Stamp:
    """What we remember about a data folder."""

    format: int
    kafka: str
    cluster: str
    port: int
    controller: int

    @classmethod
    def new(cls) -> Self:
        """Make the stamp of an empty folder."""
        # Kafka's own kind of id; one that began with a dash would look like an option to its tools.
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        return cls(FORMAT, _KAFKA, cluster, 0, 0)

    @classmethod
    def read(cls, data: Path) -> Self:
        """Read the stamp of a folder, a fresh one if the folder is empty.

        Raises:
            BrokerError: The folder is not ours, or was made by a later Sluice.
        """
        path = data / "sluice.json"
        if not path.exists():
            if any(each.name != "lock" for each in data.iterdir()):
                raise _foreign(data, "it has files, but none that says that they are Sluice's")
            return cls.new()
        try:
            stamp = cls(**json.loads(path.read_text(encoding="utf-8")))
            newer = _numbers(stamp.kafka) > _numbers(_KAFKA)
        except (ValueError, TypeError) as error:
            raise _foreign(data, "its sluice.json cannot be read") from error
        if stamp.format != FORMAT:
            raise _foreign(data, f"it has format {stamp.format}, and this Sluice reads format {FORMAT}")
        if newer:
            raise _foreign(data, f"Kafka {stamp.kafka} wrote it, and this Sluice brings {_KAFKA}")
        recorded = _cluster(data)
        if recorded not in (None, stamp.cluster):
            raise _foreign(data, f"its records are of the cluster {recorded}, not {stamp.cluster}")
        return stamp

    def choose_ports(self, fixed: int) -> Self:
        """Choose Kafka's port and the controller's: the fixed one or the last ones where free, else others.

        Raises:
            BrokerError: The fixed port is taken.
        """
        with ExitStack() as held:
            if fixed and not _bind(held, fixed):
                raise taken(fixed)
            port = fixed or _free(held, self.port)
            return replace(self, kafka=_KAFKA, port=port, controller=_free(held, self.controller))

    def write(self, data: Path) -> None:
        """Keep the stamp, whole or not at all."""
        path = data / "sluice.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)), encoding="utf-8")
        fresh.replace(path)


@contextmanager
def locked(data: Path) -> Iterator[int]:
    """Hold a folder's lock and give its descriptor: a process that inherits it holds the lock on.

    A predecessor whose parent died is given the time to end.

    Raises:
        BrokerError: Another process uses the folder.
    """
    with (data / "lock").open("a+", encoding="ascii") as file:
        deadline = time.monotonic() + GRACE + 5
        while not _flock(file.fileno()):
            file.seek(0)
            holder = file.read()
            if _lives(holder) or time.monotonic() > deadline:
                raise BrokerError(
                    f"The data folder {data} is in use by process {holder}. Stop that one, or "
                    "choose another folder."
                )
            time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def prepare(data: Path, stamp: Stamp, properties: Mapping[str, str]) -> None:
    """Write the settings, empty the folder for temporary files, and move a long log aside."""
    listeners = f"PLAINTEXT://{HOST}:{stamp.port},CONTROLLER://{HOST}:{stamp.controller}"
    settings = ONE_NODE | {
        "listeners": listeners,
        "advertised.listeners": listeners,
        "controller.quorum.bootstrap.servers": f"{HOST}:{stamp.controller}",
        "log.dirs": str(data / "records"),
    }
    lines = [f"{escaped(key)}={escaped(value)}\n" for key, value in (settings | dict(properties)).items()]
    (data / "server.properties").write_text("".join(lines), encoding="ascii")
    shutil.rmtree(data / "tmp", ignore_errors=True)
    (data / "tmp").mkdir()
    log = data / "broker.log"
    if log.exists() and log.stat().st_size > KEEP_LOG:
        log.replace(data / "broker.log.1")
    log.touch()


def formatted(data: Path) -> bool:
    """Whether Kafka's storage tool has been over the folder."""
    return (data / "records" / "meta.properties").exists()


def escaped(text: str) -> str:
    """Write a text as java.util.Properties reads it: Latin-1 with escapes, a leading blank kept."""
    units = text.encode("utf-16-be", "surrogatepass")
    codes = [int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)]
    plain = "".join(
        f"\\u{code:04x}" if not 0x20 <= code < 0x7F or chr(code) in "\\=#!" else chr(code) for code in codes
    )
    return f"\\{plain}" if plain.startswith(" ") else plain


def taken(port: int) -> BrokerError:
    """Say that a port is taken."""
    return BrokerError(
        f"Port {port} on {HOST} is taken. Stop what listens there, or choose another port (0 finds one)."
    )


def _foreign(data: Path, why: str) -> BrokerError:
    return BrokerError(
        f"{data} is not a data folder that this Sluice can use: {why}. Choose another "
        "folder, or move this one away."
    )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def _cluster(data: Path) -> str | None:
    """Return the cluster id that Kafka wrote, if it has."""
    with suppress(FileNotFoundError):
        found = re.search(
            r"^cluster\.id=(.*)$", (data / "records" / "meta.properties").read_text("latin-1"), re.MULTILINE
        )
        return found[1].strip() if found else "unknown"
    return None


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _free(held: ExitStack, last: int) -> int:
    """Return a free port, the last one if possible, and hold it until both are chosen."""
    if last and _bind(held, last):
        return last
    for port in random.sample(_PORTS, 200):
        if _bind(held, port):
            return port
    raise BrokerError(
        f"No free port from {_PORTS.start} to {_PORTS.stop} on {HOST}: name one with the port setting."
    )


def _bind(held: ExitStack, port: int) -> bool:
    probe = held.enter_context(socket.socket())
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((HOST, port))
    except OSError:
        return False
    return True
