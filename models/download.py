"""Fetching a file from the network: it is said at once, and given up where nothing arrives."""

import http.client
import socket
import sys
from pathlib import Path

import torch

# Without a byte for so long, the other side does not answer.
_SECONDS = 15.0


def download(url: str, path: Path, hash_prefix: str | None = None) -> None:
    """Fetch `url` to `path`, whole or not at all, and say on stderr what is being fetched, before the network is asked.

    Parameters
    ----------
    hash_prefix : str
        What the SHA-256 of the file begins with; None if the caller looks at what has come.

    Raises
    ------
    OSError
        In one line: if there is no network, or no such file, or the other side sends nothing for 15 seconds, or another file.
    """
    print(f"fetching {url}, for at most {_SECONDS:g} s without an answer", file=sys.stderr, flush=True)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS)  # torch's download has no time limit of its own
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix)
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        raise OSError(" ".join(f"{error or type(error).__name__}".split())) from error
    finally:
        socket.setdefaulttimeout(before)
