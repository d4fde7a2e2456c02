"""What every script does alike: arguments, plain errors."""

import functools
import math
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
import tyro

from models.weights import WeightsError
from shredder.io import ranks, terminal


class InputError(ValueError):
    """A user's mistake; the message names the file or flag, what was found and what was expected."""

    def _render_traceback_(self) -> list[str]:
        """What IPython, and so a notebook, shows in place of a traceback."""
        return [f"error: {self}"]


def script(main: Callable[[Any], None], arguments: type) -> None:
    """Read the dataclass `arguments` from the command line and run `main` on it.

    A user's mistake and a failing disk end in one line on stderr and exit status 1, without a traceback. Whether anybody reads
    what is printed decides nothing. SIGTERM and SIGHUP end the run as Ctrl-C does, with what is written aside removed. Where
    `torchrun` has started several processes they share the run (`shredder.io.ranks`).
    """
    terminal.unimportant()
    args = tyro.cli(arguments)
    who = ""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]  # nohup has it ignored
    try:
        for number in ours:
            signal.signal(number, _end)
        with ranks.joined():
            who = ranks.name()
            main(args)
    except (InputError, WeightsError, ranks.LostError) as error:
        sys.exit(f"{who}error: {error}")
    except OSError as error:
        sys.exit(f"{who}error: {error.filename or 'input or output'}: {error.strerror or error}")
    except (_EndedError, KeyboardInterrupt, RuntimeError) as error:
        _exit_if_signalled(error)
        raise
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


class _EndedError(BaseException):
    """A signal has asked for the end; no SystemExit, which a user's file may raise, and a step then reports."""


def _end(number: int, _frame: Any) -> None:
    if who := ranks.name():  # torchrun ends all of them where one has failed
        print(f"{who}ended by a signal: {ranks.PARTED}", file=sys.stderr)
    raise _EndedError(128 + number)  # as shells say it


def _exit_if_signalled(error: BaseException) -> None:
    """Exit if a signal has raised the error. While a class is made, Python makes it the cause of a RuntimeError."""
    cause = error.__cause__ if isinstance(error, RuntimeError) else error
    if isinstance(cause, _EndedError):
        sys.exit(cause.args[0])
    if isinstance(cause, KeyboardInterrupt):
        sys.exit("interrupted: no file is half-written, and a run.json lists the files that belong to it by their SHA-256")


def in_float32(main: Callable[..., None]) -> Callable[..., None]:
    """Decorates what takes float32 for granted, whatever the caller's default is, and CUDA's for convolutions (TF32)."""

    @functools.wraps(main)
    def run(*args: Any) -> None:
        convolutions = torch.backends.cudnn.conv
        callers = torch.get_default_dtype(), convolutions.fp32_precision
        torch.set_default_dtype(torch.float32)
        convolutions.fp32_precision = "ieee"
        try:
            main(*args)
        finally:
            torch.set_default_dtype(callers[0])
            convolutions.fp32_precision = callers[1]

    return run


def require_at_least(args: Any, **minima: float) -> None:
    """Raise InputError where a field of `args` lies below its minimum or is not finite, naming the flag; None passes."""
    for field, minimum in minima.items():
        value = getattr(args, field)
        if value is not None and not minimum <= value < math.inf:
            flag = "--" + field.replace("_", "-")
            raise InputError(f"{flag}: found {value}, expected at least {minimum}")


def require_one_of(args: Any, **choices: Iterable[str]) -> None:
    """Raise InputError where a field of `args` is none of its choices, naming the flag."""
    for field, names in choices.items():
        if getattr(args, field) not in names:
            flag = "--" + field.replace("_", "-")
            raise InputError(f"{flag}: found {getattr(args, field)!r}, expected {', '.join(names)}")
