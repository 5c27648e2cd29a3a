"""Whether a process is ready to work: asked of the process itself, never guessed from time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

Probe = Callable[[], Awaitable[str]]
"""Empty when ready, else what is missing."""
PROBE_SECONDS = 3.0


def http_probe(url: str) -> Probe:
    """Ready when `GET url` answers 200."""

    async def probe() -> str:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                status, body = await http_get(url)
        except (OSError, TimeoutError, ValueError) as error:
            return f"{url} does not answer ({type(error).__name__})"
        return "" if status == 200 else f"{url} answers {status}: {body[:300].strip()}"

    return probe


async def http_get(url: str) -> tuple[int, str]:
    """Status and body of a plain HTTP/1.0 GET. Raises OSError, or ValueError where the answer is no HTTP."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        request = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        head, _, body = (await reader.read(1_000_000)).partition(b"\r\n\r\n")
        words = head.split(b" ", 2)
        if len(words) < 2 or not words[1].isdigit():
            raise ValueError(f"{url} does not speak HTTP")
        return int(words[1]), body.decode(errors="replace")
    finally:
        writer.close()


def tcp_probe(port: int, host: str = "127.0.0.1") -> Probe:
    """Ready when something accepts connections on the port."""

    async def probe() -> str:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            return f"{host}:{port} does not accept connections ({type(error).__name__})"
        writer.close()
        return ""

    return probe
