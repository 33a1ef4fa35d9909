"""The process that holds a run's model and answers questions about it, one after another.

It reads a line of JSON for each question from standard input, and writes a line for each part of the answer to standard
output. `SIGINT` ends the answer and leaves the model as it is. The page's server can therefore lose a worker, and never
its own life.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from inkwash.core.errors import ConfigError, InkwashError
from inkwash.core.machine import keep_freed_memory
from inkwash.core.progress import heard
from inkwash.core.storage import dump_line
from inkwash.core.text import shortened
from inkwash.studio.questions import question
from inkwash.studio.subject import Subject


class Cancelled(BaseException):
    """Nobody waits for the answer any more."""


def main() -> None:
    """Answer questions about the run that the first word names, until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb", 0)
    os.dup2(2, 1)  # whatever prints must not stand among the answers
    keep_freed_memory()
    subject = Subject(Path(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        signal.signal(signal.SIGINT, _cancel)
        try:
            with heard(lambda share: _write(answers, {"share": share})):
                for part in question(asked.get("ask"), asked.get("options", {})).answer(subject):
                    _write(answers, part)
            end: dict[str, Any] = {"end": "done"}
        except Cancelled:
            end = {"end": "cancelled"}
        except InkwashError as error:
            end = {"end": "refused", "error": str(error), "bad_option": isinstance(error, ConfigError)}
        except MemoryError:
            end = {"end": "refused", "error": "memory: got too little, need fewer or smaller examples at a time"}
        except Exception as error:  # a fault of ours must not end the process that the next question needs
            end = {"end": "failed", "error": f"internal error: {type(error).__name__}: {shortened(error)}"}
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _write(answers, end)


def _cancel(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Cancelled


def _write(answers: Any, part: dict[str, Any]) -> None:
    answers.write(dump_line(part))


if __name__ == "__main__":
    main()
