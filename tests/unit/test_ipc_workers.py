"""Tasks that are used again: order, hand-over when one waits, and what is left at rest."""

from __future__ import annotations

import asyncio

from sidecar.ipc.workers import Workers


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_burst_that_never_waits_shares_one_task() -> None:
    workers, ran = Workers(), []

    async def job(n: int) -> None:
        ran.append((n, asyncio.current_task()))

    for n in range(50):
        workers.start(job(n))
    assert ran == [], "not before the next turn"
    await settle()
    assert [n for n, _ in ran] == list(range(50))
    assert len({task for _, task in ran}) == 1
    workers.start(job(50))
    await settle()
    assert ran[50][1] is ran[0][1]
    await workers.close()


async def test_one_that_waits_holds_up_nobody() -> None:
    workers, gate, ran = Workers(), asyncio.Event(), []

    async def waits(n: int) -> None:
        await gate.wait()
        ran.append(n)

    async def quick(n: int) -> None:
        ran.append(n)

    before = len(asyncio.all_tasks())
    for n in range(10):
        workers.start(waits(n) if n % 2 else quick(n))
    for _ in range(10):
        await settle()
    assert ran == [0, 2, 4, 6, 8]
    assert len(asyncio.all_tasks()) - before in (5, 6)
    gate.set()
    await settle()
    assert sorted(ran) == list(range(10))
    assert len(asyncio.all_tasks()) - before == 1, "one is left at rest"
    await workers.close()
    assert len(asyncio.all_tasks()) == before


async def test_each_has_its_own_timeout_and_cancellation() -> None:
    workers, out = Workers(), []

    async def timed() -> None:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            out.append("timeout")

    async def cancelled() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task.uncancel()
            out.append("cancelled")

    async def after() -> None:
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0.02)
        out.append(f"after {task.cancelling()}")

    for job in (timed(), cancelled(), after()):
        workers.start(job)
    await workers.close()
    assert sorted(out) == ["after 0", "cancelled", "timeout"]


async def test_closing_waits_for_what_runs() -> None:
    workers, out = Workers(), []

    async def slow() -> None:
        await asyncio.sleep(0.01)
        out.append(1)

    for _ in range(3):
        workers.start(slow())
    await workers.close()
    assert out == [1, 1, 1]


async def test_a_task_that_is_cancelled_at_rest_is_replaced() -> None:
    workers, out = Workers(), []

    async def job() -> None:
        out.append(asyncio.current_task())

    workers.start(job())
    await settle()
    out[0].cancel()
    await settle()
    workers.start(job())
    await settle()
    assert len(out) == 2
    assert out[0] is not out[1]
    await workers.close()
