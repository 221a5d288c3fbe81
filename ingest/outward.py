"""The way out: sessions for providers, with the proxy of the environment and a CA of one's own."""

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from ingest.config import ConfigError

_CONNECT: Final = 15.0
_LINE: Final = 64 << 10


def open_session(
    timeout: float = 60.0, stall: float = 30.0, ca_file: Path | None = None
) -> aiohttp.ClientSession:
    """Open a session as the client wants it: no cookies, and nothing of `~/.netrc`.

    Args:
        timeout: Seconds for a whole call, connecting included; streams are bound by `stall` alone.
        stall: Seconds without a byte.
        ca_file: Certificates (PEM) that are trusted beside the machine's own.

    Raises:
        ConfigError: The certificates can't be read.
    """
    trusted = trust(ca_file) if ca_file else True
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=512, limit_per_host=64, ttl_dns_cache=60, ssl=trusted),
        timeout=aiohttp.ClientTimeout(total=timeout, connect=_CONNECT, sock_read=stall),
        headers={"User-Agent": "sluice"},
        # Of the client's 8 KiB a content security policy or a few links with cursors take more.
        max_line_size=_LINE,
        max_field_size=_LINE,
    )


@lru_cache(maxsize=8)
def trust(ca_file: Path) -> ssl.SSLContext:
    """Trust a file's certificates beside the machine's own; read once, as a context is large.

    Raises:
        ConfigError: The file can't be read, or has no certificate.
    """
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"SLUICE_CA_FILE can't be used ({type(error).__name__}): give a file of PEM certificates"
        ) from None
    return context


def proxy_for(url: URL) -> URL | None:
    """Find the proxy that the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) has for an address.

    aiohttp's own way (`trust_env`) would also take credentials from `~/.netrc` and read it at every call.
    """
    return _proxy(url.scheme, f"{url.host}:{url.port}")


@lru_cache(maxsize=1024)
def _proxy(scheme: str, host: str) -> URL | None:
    found = getproxies().get(scheme)
    if not found or proxy_bypass(host):
        return None
    return URL(found if "://" in found else f"http://{found}")
