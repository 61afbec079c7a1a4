"""Addresses that secrets may be sent to."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_protected(url: str) -> bool:
    """Return whether a URL is HTTPS, or HTTP on this machine's loopback interface.

    >>> is_protected("https://login.example.org"), is_protected("http://127.0.0.1:9400")
    (True, True)
    >>> is_protected("http://login.example.org"), is_protected("https://"), is_protected("file:///etc/hosts")
    (False, False, False)
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)))


def protected_url(url: str, name: str) -> str:
    """Return a URL if secrets may be sent to it.

    Parameters
    ----------
    name : of the setting, for the error's message.

    Raises
    ------
    ValueError
        If it is not protected, or has a query or fragment.

    Examples
    --------
    >>> protected_url("https://login.example.org/acme", "issuer")
    'https://login.example.org/acme'
    """
    if not is_protected(url) or "?" in url or "#" in url:
        raise ValueError(
            f"{name}: expected an https:// URL without query, or http:// on loopback, got {url!r}; correct it"
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
