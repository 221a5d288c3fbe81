"""The embedded default: a real Apache Kafka (KRaft, one node) as a child process, on loopback only.

`embedded()` is the door for everyone; `Broker` is for those who also kill, freeze and restart it. A data
folder keeps its records, its address and its log from one start to the next.
"""

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn, Self

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from sluice.broker_folder import GRACE, HOST, Stamp, data_folder, formatted, locked, prepare, taken
from sluice.java import BrokerError, class_path, disk_full, find_java, write_lock

__all__ = ["Broker", "BrokerError", "data_folder", "embedded"]

PORT_TRIES = 3
"""Starts before we give up finding a port that nobody takes before Kafka does."""

_TAKEN = "Address already in use"
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_FAST_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
"""Seen on 2 cores: 1.8 s to listening, 2.4 s without; no slower in transactions of 1,000 events."""

_JVM = (*_FAST_START, "-Xms64m", "-Xmx256m", "-XX:+ExitOnOutOfMemoryError", "-Djava.net.preferIPv4Stack=true")
_LOGGING = {
    "defaultLogLevel": "warn",
    "log.kafka.server.KafkaRaftServer": "info",
    "log.org.apache.kafka.common.utils.AppInfoParser": "info",
    "showDateTime": "true",
    "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSZ",
}


class Broker:
    """One embedded Kafka. It can be started again on the same data, at the same address, after stop or kill.

    Args:
        data: The data folder, made if there is none. One broker at a time holds it.
        port: The port to listen on; 0 takes the one of the last start if that is free, else any free one.
        properties: Broker settings on top of ours (Kafka documentation, "Broker Configs").
        timeout: Seconds that a start may take once the jars are there.
        temporary: Whether the folder goes with the process that started the broker, should that die.
    """

    def __init__(
        self,
        data: Path,
        *,
        port: int = 0,
        properties: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        temporary: bool = False,
    ) -> None:
        self.data = data.absolute()
        self.log = self.data / "broker.log"
        self.pid = 0
        self._fixed, self._port = port, port
        self._properties = dict(properties or {})
        self._timeout, self._temporary = timeout, temporary
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def bootstrap(self) -> str:
        """The address for clients, `host:port`; known once started."""
        return f"{HOST}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether Kafka's process is there (it may be frozen)."""
        return self._supervisor is not None and self._supervisor.poll() is None

    async def start(self) -> Self:
        """Start Kafka and return once it answers a metadata request.

        Raises:
            BrokerError: It cannot be started; the message says why and what to do.
        """
        if self.running:
            raise BrokerError(f"This Kafka already runs as process {self.pid}: stop it first.")
        java, jars = await asyncio.gather(asyncio.to_thread(find_java), asyncio.to_thread(class_path))
        for attempt in range(1, PORT_TRIES + 1):
            try:
                await self._try(java, jars)
            except BrokerError:
                if self._fixed or attempt == PORT_TRIES or _TAKEN not in self._new_log():
                    raise
            else:
                break
        self._fixed = self._port
        return self

    async def stop(self) -> None:
        """End Kafka cleanly, or by force after ten seconds. Does nothing if it has ended."""
        if self._supervisor is not None:
            self._tell_stop(self._supervisor)
            await asyncio.to_thread(self._reap, GRACE + 5)

    async def kill(self) -> None:
        """End Kafka as a crash would: SIGKILL, nothing flushed by it, nothing said to its clients."""
        self._signal(signal.SIGKILL)
        await asyncio.to_thread(self._reap, GRACE)

    def freeze(self) -> None:
        """Stop Kafka's process in its tracks: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen Kafka go on."""
        self._signal(signal.SIGCONT)

    async def watch(self) -> NoReturn:
        """Wait until Kafka ends by itself.

        Raises:
            BrokerError: It has ended; the message has its last words.
        """
        while self.running:  # noqa: ASYNC110 only the process itself tells of its end
            await asyncio.sleep(0.25)
        raise self._died()

    async def _try(self, java: Path, jars: str) -> None:
        """Launch and wait; whatever stops this on the way, a cancellation too, leaves no process behind."""
        launch = asyncio.ensure_future(asyncio.to_thread(self._launch, java, jars))
        try:
            await asyncio.shield(launch)
            await self._ready()
        except BaseException:
            await asyncio.wait([launch])
            self._reap(0)
            raise

    def _signal(self, number: signal.Signals) -> None:
        if not self.running:
            raise BrokerError("This Kafka does not run: start it first.")
        os.kill(self.pid, number)

    @staticmethod
    def _tell_stop(supervisor: subprocess.Popen[bytes]) -> None:
        assert supervisor.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            supervisor.stdin.write(b"stop\n")
            supervisor.stdin.close()

    def _reap(self, wait: float) -> None:
        """Wait for the supervisor's end, force both ends after that time, and give the pipes back."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return
        self._tell_stop(supervisor)
        with contextlib.suppress(subprocess.TimeoutExpired):
            supervisor.wait(wait)
        if supervisor.returncode is None or supervisor.returncode < 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid or supervisor.pid, signal.SIGKILL)
        try:
            supervisor.wait(5)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
        self.pid = 0
        for pipe in (supervisor.stdin, supervisor.stdout):
            assert pipe is not None
            pipe.close()

    def _launch(self, java: Path, jars: str) -> None:
        """Take the folder, prepare it and start the process; blocking, a second at most."""
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            with locked(self.data) as lock:
                stamp = Stamp.read(self.data).choose_ports(self._fixed)
                stamp.write(self.data)
                self._port = stamp.port
                prepare(self.data, stamp, self._properties)
                self._log_start = self.log.stat().st_size
                if not formatted(self.data):
                    self._format(java, jars, stamp.cluster)
                self._spawn(self._command(java, jars, "kafka.Kafka"), lock)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise disk_full(self.data) from error
            raise BrokerError(
                f"The data folder {self.data} cannot be used: {error.strerror}. Choose another, or mend it."
            ) from error

    def _command(self, java: Path, jars: str, main: str, *arguments: str) -> list[str]:
        logging = [f"-Dorg.slf4j.simpleLogger.{key}={value}" for key, value in _LOGGING.items()]
        temporary = f"-Djava.io.tmpdir={self.data / 'tmp'}"
        settings = str(self.data / "server.properties")
        return [str(java), *_JVM, *logging, temporary, "-cp", jars, main, *arguments, settings]

    def _format(self, java: Path, jars: str, cluster: str) -> None:
        arguments = ("format", "--standalone", "--ignore-formatted", "--cluster-id", cluster, "--config")
        with self.log.open("ab") as log:
            command = self._command(java, jars, "kafka.tools.StorageTool", *arguments)
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)  # noqa: S603 ours
        if done.returncode:
            raise self._died()

    def _spawn(self, command: list[str], lock: int) -> None:
        """Start the supervisor, which inherits the folder's lock and hands it on until Kafka is gone."""
        asked = ["--grace", str(GRACE), "--lock", str(lock)]
        asked += ["--remove", str(self.data)] if self._temporary else []
        with self.log.open("ab") as log:
            self._supervisor = subprocess.Popen(  # noqa: S603 our own words
                [sys.executable, "-I", "-S", str(_SUPERVISOR), *asked, "--", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
            )
        assert self._supervisor.stdout is not None
        told = self._supervisor.stdout.readline().strip()
        if not told:
            raise self._died()
        self.pid = int(told)

    async def _ready(self) -> None:
        """Wait for the port, then for a metadata answer that names a broker."""
        try:
            async with asyncio.timeout(self._timeout):
                while not await _listens(self._port) or not await _answers(self.bootstrap):
                    if not self.running:
                        raise self._died()
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise BrokerError(
                f"Kafka did not answer on {self.bootstrap} within {self._timeout:g} s. Is the machine short "
                f"of memory or time? Its last words:\n{self._last_words()}"
            ) from error

    def _new_log(self) -> str:
        """What was logged since the last launch."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode("utf-8", "replace")
        return ""

    def _last_words(self) -> str:
        """The log's last lines without the frames of Java's traces, which push the reason out of sight."""
        lines = [line for line in self._new_log().splitlines() if not line.startswith(("\tat ", "\t..."))]
        return "\n".join(lines[-8:])

    def _died(self) -> BrokerError:
        """Say why Kafka ended, from what it wrote."""
        log = self._new_log()
        if "No space left on device" in log:
            return disk_full(self.data)
        if _TAKEN in log:
            return taken(self._port)
        if "UnsupportedClassVersionError" in log:
            return BrokerError(
                "This Java is too old for Kafka: unset JAVA_HOME, or point it to Java 17 or later."
            )
        return BrokerError(f"Kafka ended. Its whole log is {self.log}; its last words:\n{self._last_words()}")


@asynccontextmanager
async def embedded(
    data: Path | None = None, *, port: int = 0, properties: Mapping[str, str] | None = None
) -> AsyncIterator[Broker]:
    """Run a Kafka for the length of the block; without a data folder in a temporary one that goes with it.

    Raises:
        BrokerError: It cannot be started; the message says why and what to do.
    """
    temporary = None if data else Path(tempfile.mkdtemp(prefix="sluice-kafka-"))
    broker = Broker(
        data or temporary or Path(), port=port, properties=properties, temporary=temporary is not None
    )
    try:
        yield await broker.start()
    finally:
        try:
            await broker.stop()
        finally:
            if temporary:
                shutil.rmtree(temporary, ignore_errors=True)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _answers(bootstrap: str) -> bool:
    """Whether a metadata request brings a broker back."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=2000)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except KafkaError:
        return False
    finally:
        await client.close()


def main(arguments: list[str]) -> int:
    """Make the lock of the jars anew: `python -m sluice.broker lock`."""
    if arguments != ["lock"]:
        sys.stderr.write("Call: python -m sluice.broker lock\n")
        return 2
    try:
        count = write_lock()
    except BrokerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write(f"{count} jars locked\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
