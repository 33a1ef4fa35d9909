"""Where the command line starts, as `inkwash` and as `python -m inkwash`.

A signal may come before the commands are imported, which takes a moment. It ends the process in one line as well.
"""

import os
import signal
from types import FrameType

_SIGNALS = {signal.SIGINT: b"interrupted\n", signal.SIGTERM: b"terminated\n"}


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, _SIGNALS[signal.Signals(number)])
    os._exit(128 + number)


def main() -> None:
    """Run the command that the words of the process describe."""
    for number in _SIGNALS:
        signal.signal(number, _end)
    from inkwash.commands.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
