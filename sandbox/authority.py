"""The sandbox's own certificate authority: TLS for simulated tenants, trusted by nobody who is not told to.

Example:
    authority = Authority()
    async with running(tenant, authority.server("127.0.0.1")): ...
    authority.write(Path("/tmp/ca.pem"))  # for SLUICE_CA_FILE
"""

import ssl
from pathlib import Path

import trustme


class Authority:
    """A CA that lives as long as the object; its certificates are for names or addresses."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def server(self, *names: str) -> ssl.SSLContext:
        """A context to serve with, for these host names or addresses (loopback when none are given)."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(*(names or ("127.0.0.1", "localhost", "::1"))).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        """A context to call with, which trusts this CA alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._ca.configure_trust(context)
        return context

    def pem(self) -> str:
        """The CA's certificate."""
        return self._ca.cert_pem.bytes().decode()

    def write(self, path: Path) -> Path:
        """Write the CA's certificate into a file, and return its path."""
        path.write_text(self.pem())
        return path
