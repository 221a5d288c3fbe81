"""Masked forms: what may be shown of a value."""

from collections.abc import Callable


def _stars(count: int) -> str:
    return "*" * max(count, 3)


def mask_card(value: bytes) -> str:
    """Show the first six and the last four digits, the most that PCI DSS 3.4.1 allows on display."""
    text = value.decode("ascii", "replace")
    return f"{text[:6]}{_stars(len(text) - 10)}{text[-4:]}"


def mask_ssn(value: bytes) -> str:
    """Show the last four digits."""
    return f"***-**-{value[-4:].decode('ascii', 'replace')}"


def mask_iban(value: bytes) -> str:
    """Show the country and the last four characters."""
    text = value.decode("ascii", "replace")
    return f"{text[:2]}{_stars(len(text) - 6)}{text[-4:]}"


def mask_email(value: bytes) -> str:
    """Show the first character and the domain."""
    local, _, domain = value.decode("utf-8", "replace").rpartition("@")
    return f"{local[:1]}***@{domain}"


def mask_prefix(value: bytes) -> str:
    """Show the four characters that name the kind of secret."""
    return f"{value[:4].decode('ascii', 'replace')}***"


def mask_all(_value: bytes) -> str:
    """Show nothing."""
    return "***"


MASKS: dict[str, Callable[[bytes], str]] = {
    "card": mask_card,
    "ssn": mask_ssn,
    "iban": mask_iban,
    "email": mask_email,
    "prefix": mask_prefix,
    "all": mask_all,
}
