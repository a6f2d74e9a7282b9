"""Many workers of one type: each agent at one of them, and nothing lost when they come and go."""

from __future__ import annotations

import asyncio
import signal

import pytest

from behaviour.agents import BROADCAST_TYPES, Ask, Hold, Order, Seen
from behaviour.world import PATIENCE_S, Cluster, cluster, remote_world
from callboard import AgentId, AgentNotFound, TopicId, Unavailable
from callboard.worker import WorkerRuntime


async def test_agents_spread_over_three_workers_and_stay_where_they_are(
    shared_cluster: Cluster,
) -> None:
    """Each of three workers of a type runs a share of its agents.

    An agent is always found at the same one.
    """
    async with remote_world(shared_cluster.address) as world:
        agents = [AgentId("troublemaker", f"{world.key}-{number}") for number in range(90)]

        async def where() -> list[int]:
            pids: list[int] = await asyncio.gather(
                *(world.runtime.send_message(Ask("pid"), agent) for agent in agents)
            )
            return pids

        first = await where()
        shares = [first.count(pid) for pid in set(first)]
        assert len(shares) == 3
        assert min(shares) >= 10
        assert await where() == first


async def test_a_thousand_agents_hear_one_event_once_each() -> None:
    """One event to a thousand agents on two workers: each hears it once."""
    with cluster(workers=2, setup="behaviour.agents:setup_broadcast") as made:
        async with remote_world(made.address) as world:
            watch = await world.watch()
            await world.runtime.publish_message(Order(1), TopicId("broadcast", world.key))
            heard = await watch.take(BROADCAST_TYPES)
            assert len({noted.agent for noted in heard}) == BROADCAST_TYPES
            assert len({noted.process for noted in heard}) == 2
            await world.runtime.publish_message(Order(2), TopicId("broadcast", world.key))
            assert {noted.number for noted in await watch.take(BROADCAST_TYPES)} == {2}


async def test_workers_come_and_go_under_traffic_and_nothing_is_lost_or_disordered() -> None:
    """Events flow to 60 agents while a second and third worker join and the first two leave."""
    with cluster(workers=1) as made:
        async with remote_world(made.address) as world:
            keys = [f"{world.key}-{number}" for number in range(60)]
            watch = await world.watch(*keys)
            stop = asyncio.Event()
            published = 0

            async def publish() -> None:
                nonlocal published
                while not stop.is_set():
                    published += 1
                    for key in keys:
                        await world.runtime.publish_message(
                            Order(published), TopicId("orders", key)
                        )

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(publish())
                actions = (
                    made.start_worker,
                    made.start_worker,
                    made.workers[0].stop,
                    lambda: made.workers[1].stop(),  # noqa: PLW0108 (it does not exist yet)
                )
                for action in actions:
                    before = published
                    await asyncio.to_thread(action)
                    while published < before + 5:
                        await asyncio.sleep(0.01)
                stop.set()
            heard: dict[str, list[int]] = {key: [] for key in keys}
            places: dict[str, dict[int, None]] = {key: {} for key in keys}
            for noted in await watch.take(published * len(keys)):
                heard[noted.topic_source].append(noted.number)
                places[noted.topic_source][noted.process] = None
            assert all(numbers == list(range(1, published + 1)) for numbers in heard.values())
            assert {list(place)[-1] for place in places.values()} == {made.workers[2].child.pid}
            assert any(len(place) > 2 for place in places.values())


async def test_a_killed_worker_fails_its_calls_and_its_events_go_elsewhere() -> None:
    """kill -9.

    Calls to it end with Unavailable, and events it had not settled are handled by another.
    """
    with cluster(workers=1) as made:
        async with remote_world(made.address) as world:
            watch = await world.watch()
            agent = AgentId("troublemaker", world.key)
            held = asyncio.create_task(world.runtime.send_message(Hold(), agent, timeout_s=60))
            await watch.next()
            await asyncio.to_thread(made.workers[0].stop, signal.SIGKILL)
            with pytest.raises(Unavailable, match="was lost"):
                await held
            await world.runtime.publish_message(Order(1), TopicId("orders", world.key))
            waiting = asyncio.create_task(
                world.runtime.send_message(Seen(), AgentId("recorder", world.key))
            )
            await asyncio.to_thread(made.start_worker)
            assert await watch.numbers(1) == [1]
            assert await waiting in ([], [1])


async def test_a_call_to_a_type_whose_workers_have_left_ends_by_its_deadline() -> None:
    """The type is known, nobody serves it.

    Unavailable when the time is up, NotFound for a type never seen.
    """
    with cluster(workers=1) as made:
        async with remote_world(made.address) as world:
            await asyncio.to_thread(made.workers[0].stop)
            with pytest.raises(Unavailable, match="came in time"):
                await world.runtime.send_message(
                    Seen(), AgentId("recorder", world.key), timeout_s=0.2
                )
            with pytest.raises(AgentNotFound):
                await world.runtime.send_message(Seen(), AgentId("never_seen", world.key))


async def test_a_worker_told_to_stop_finishes_its_turn_first() -> None:
    """SIGTERM.

    The turn that runs is finished and answered, then the worker leaves with exit code 0.
    """
    with cluster(workers=1) as made:
        async with remote_world(made.address) as world:
            watch = await world.watch()
            slow = asyncio.create_task(
                world.runtime.send_message(Ask("slow"), AgentId("troublemaker", world.key))
            )
            await watch.next()
            assert await asyncio.to_thread(made.workers[0].stop) == 0
            assert await slow == 1


async def test_a_host_that_stays_away_ends_everything_that_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """kill -9 of the host, and none in its place.

    For those who were told to look no longer than so: workers leave with one clear line.
    """
    monkeypatch.setenv("CALLBOARD_RECONNECT_TIMEOUT_S", "0.5")
    with cluster(workers=1) as made:
        async with remote_world(made.address, reconnect_timeout_s=0.5) as world:
            watch = await world.watch()
            held = asyncio.create_task(
                world.runtime.send_message(Hold(), AgentId("troublemaker", world.key))
            )
            await watch.next()
            await asyncio.to_thread(made.host.stop, signal.SIGKILL)
            with pytest.raises(Unavailable, match="no host at"):
                await held
            with pytest.raises(Unavailable, match="no host at"):
                await world.runtime.publish_message(Order(1), TopicId("orders", world.key))
        assert await asyncio.to_thread(made.workers[0].child.wait, 10) == 1
        assert "no host at" in made.workers[0].said()


async def test_no_host_is_said_in_one_line_that_names_the_address() -> None:
    """Connecting where nothing listens fails after the connect timeout, naming the address."""
    with pytest.raises(Unavailable, match=r"no host at 127\.0\.0\.1:1: gave up after 0\.3 s"):
        await WorkerRuntime("127.0.0.1:1", connect_timeout_s=0.3).start()


async def test_an_event_that_kills_its_workers_is_given_up_with_the_third() -> None:
    """The fourth worker is spared, and gets what was published after it."""
    with cluster(workers=3) as made:
        async with remote_world(made.address) as world:
            watch = await world.watch()
            for number in (0, 1):
                await world.runtime.publish_message(Order(number), TopicId("poison", world.key))
            for worker in made.workers:
                assert await asyncio.to_thread(worker.child.wait, PATIENCE_S) == -signal.SIGKILL
            assert watch.is_empty
            await asyncio.to_thread(made.start_worker)
            assert await watch.numbers(1) == [1]
