"""What is printed where nobody looks: lines of a log, and no bar that is drawn over itself."""

import contextlib
import io
import re

import pytest

from shredder.io.terminal import Lines, Unimportant, progress


@pytest.mark.parametrize(
    ("text", "lines"), [("\r 10%", " 10%\n"), ("\r", ""), ("\n", ""), ("a\rb  \n", "a\nb\n"), ("", ""), ("\r   \r", "")]
)
def test_lines(text, lines):
    stream = io.StringIO()
    assert Lines(stream).write(text) == len(text)
    assert stream.getvalue() == lines


@pytest.fixture
def log_of(monkeypatch):
    """What a bar of `n` steps, each of so many seconds by the bar's clock, writes to stderr where it is no terminal."""
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])

    def log_of(n, seconds):
        with contextlib.redirect_stderr(io.StringIO()) as log, progress(n, unit="image", desc="edge", disable=False) as bar:
            for _ in range(n):
                now[0] += seconds
                bar.set_postfix_str("loss 0.5", refresh=False)
                bar.update()
        return log.getvalue()

    return log_of


def test_a_log_has_no_line_of_what_is_short(log_of):
    assert log_of(1000, 0.009) == ""


def test_a_log_has_a_line_every_so_often(log_of):
    log = log_of(30, 1.5)
    lines = log.splitlines()
    # After 10.5 seconds, 21, 31.5 and 42, and at the end, after 45.
    assert [re.search(r"(\d+)/30", line)[1] for line in lines] == ["7", "14", "21", "28", "30"] and "\r" not in log
    assert all("edge" in line and "/30" in line and "loss 0.5" in line and len(line) <= 120 for line in lines)


@pytest.mark.parametrize("error", [BrokenPipeError, OSError, ValueError])
def test_what_a_stream_does_not_take_is_dropped(error):
    class Gone(io.StringIO):
        def write(self, text):
            raise error

        def flush(self):
            raise error

    stream = Unimportant(Gone())
    assert stream.write("text") == 4 and stream.flush() is None and stream.readable()
