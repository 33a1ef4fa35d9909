"""A worker that is cancelled, that hangs or that dies costs its question, and nothing else."""

import asyncio
import sys

import pytest

from inkwash.studio import desk
from inkwash.studio.desk import BusyError, Worker

STAND_IN = """
import json, os, signal, sys, time
class Stop(BaseException): pass
def stop(*_): raise Stop
for line in sys.stdin.buffer:
    asked = json.loads(line)
    signal.signal(signal.SIGINT, stop)
    try:
        if asked["ask"] == "die": os._exit(3)
        if asked["ask"] == "hang": signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)
        for i in range(3 if asked["ask"] == "count" else 10**9):
            print(json.dumps({"i": i, "pid": os.getpid()}), flush=True)
            time.sleep(0.01)
        end = "done"
    except Stop:
        end = "cancelled"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(json.dumps({"end": end}), flush=True)
"""


@pytest.fixture
def worker(monkeypatch, tmp_path):
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(desk, "COMMAND", (sys.executable, str(script)))
    monkeypatch.setattr(desk, "GRACE", 0.5)
    return Worker(tmp_path)


async def _all(worker, name):
    return [part async for part in worker.ask(name, {})]


async def _first(worker, name):
    """The first part of an answer that nobody waits for any more."""
    parts = worker.ask(name, {})
    assert await anext(parts) == {"before": 0}
    part = await anext(parts)
    await parts.aclose()
    return part


def _run(worker, story):
    async def all_of_it():
        try:
            return await story()
        finally:
            await worker.close()

    return asyncio.run(all_of_it())


def test_an_answer_comes_in_parts(worker):
    parts = _run(worker, lambda: _all(worker, "count"))
    assert parts[0] == {"before": 0}
    assert [part.get("i") for part in parts[1:]] == [0, 1, 2, None]
    assert parts[-1] == {"end": "done"}


def test_a_cancelled_answer_leaves_its_process(worker):
    async def story():
        before, after = await _first(worker, "for ever"), await _all(worker, "count")
        return before["pid"], after[1]["pid"], after[-1]

    before, after, end = _run(worker, story)
    assert before == after
    assert end == {"end": "done"}


def test_a_dead_process_is_said_and_replaced(worker):
    async def story():
        return await _all(worker, "die"), await _all(worker, "count")

    died, after = _run(worker, story)
    assert died[-1]["end"] == "failed"
    assert after[-1] == {"end": "done"}


def test_a_process_that_does_not_stop_is_replaced(worker, monkeypatch):
    monkeypatch.setattr(desk, "PATIENCE", 0.5)

    async def story():
        return await _all(worker, "hang"), await _all(worker, "count")

    hung, after = _run(worker, story)
    assert hung[-1]["end"] == "refused"
    assert after[-1] == {"end": "done"}


def test_time_runs_out_for_an_answer_that_another_task_goes_on_with(worker, monkeypatch):
    """A server begins an answer in one task and sends the rest of it from another."""
    monkeypatch.setattr(desk, "PATIENCE", 0.5)

    async def story():
        parts = worker.ask("for ever", {})
        await anext(parts)
        await anext(parts)

        async def rest():
            return [part async for part in parts]

        return (await asyncio.create_task(rest()))[-1]

    assert _run(worker, story)["error"].startswith("time: got no answer in 0.5 s")


def test_a_question_that_waits_can_go(worker):
    async def story():
        first, gone = worker.ask("for ever", {}), worker.ask("count", {})
        await anext(first)
        await anext(first)
        before = await anext(gone)
        await gone.aclose()
        await first.aclose()
        return before, worker.waiting

    assert _run(worker, story) == ({"before": 1}, 0)


def test_a_part_that_is_too_long_costs_its_question_only(worker, monkeypatch):
    monkeypatch.setattr(desk, "_LINE", 16)

    async def story():
        return await _all(worker, "count")

    assert _run(worker, story)[-1]["error"] == desk._LARGE


def test_a_few_questions_wait_and_no_more(worker):
    async def story():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_all(worker, "count")) for _ in range(desk.MOST_WAITING)]
            await asyncio.sleep(0)
            with pytest.raises(BusyError):
                await _all(worker, "count")
        return [task.result()[-1] for task in tasks]

    assert _run(worker, story) == [{"end": "done"}] * desk.MOST_WAITING
