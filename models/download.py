"""Fetching a file from the network: it is said at once, and given up where nothing arrives."""

import http.client
import socket
import sys
from pathlib import Path

import torch

from models.weights import WeightsError

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
        raise OSError(" ".join((str(error) or type(error).__name__).split())) from error
    finally:
        socket.setdefaulttimeout(before)


def fetched(url: str) -> Path:
    """Where torch keeps the weights at `url`, fetched if they are not there; their name ends in how their SHA-256 begins.

    Raises
    ------
    models.weights.WeightsError
        If they cannot be fetched.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            download(url, path, hash_prefix=path.stem.split("-")[-1])
        except OSError as error:
            raise WeightsError(
                f"{path}: not there, and could not be downloaded ({error}); fetch {url}, or name it with --weights"
            ) from error
    return path
