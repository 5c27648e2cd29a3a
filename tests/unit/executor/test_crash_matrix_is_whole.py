"""The crash matrix is whole: a new way to write, publish or acknowledge that no scenario crosses fails here."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pytest

from services.executor import ports
from shared.large_values import Blobs
from shared.messaging import handling
from shared.pipeline.batches import MessageBatches
from shared.storage import Collection
from tests.fakes.cluster import Cluster, Process
from tests.fakes.crash_play import play
from tests.fakes.crash_scenarios import SCENARIOS
from tests.fakes.durable_boundaries import WatchedBlobs, WatchedCollection

READS = {
    "RunStore": {"get", "finished", "nested_in", "latest"},
    "Journal": {"entries", "outline", "bytes_elsewhere"},
    "Stops": {"among"},
    "Values": {"unpack", "written"},
    "AnswerCache": {"get"},
    "Pools": {"is_open"},
    "Conversations": {"load"},
    "Revisions": {"resolve"},
    "ClosedScopes": {"is_closed"},
    "QuotaRules": {"bounds"},
    "LeasedRuns": {"under_lease"},
    "Questions": {"ask"},
    "Computations": {"compute"},
    "ModelRecords": {"of_domain"},
    "SharedStates": {"read"},
    "MessageBatches": {"find", "has_ended", "results"},
}
"""Methods of the executor's ports that change nothing; every other asynchronous one must be crossed by a scenario."""
ANSWERING = {"SealableScopes": {"seal"}}
"""Methods that change something in answer to a query, which no command brings back: `test_sealing_scopes.py` breaks them."""
COLLECTION_READS = {"get", "find", "count", "ensure_index"}


def writing_methods() -> dict[str, set[str]]:
    """Port -> its asynchronous methods that change something."""
    found = {}
    for name, port in {**vars(ports), "MessageBatches": MessageBatches}.items():
        if inspect.isclass(port) and (port.__module__ == ports.__name__ or port is MessageBatches):
            methods = {each for each, member in vars(port).items() if inspect.iscoroutinefunction(member)}
            found[name] = methods - READS.get(name, set()) - ANSWERING.get(name, set())
    return {name: methods for name, methods in found.items() if methods}


def reachable(root: object, seen: dict[int, object]) -> dict[int, object]:
    """Every object of the project that `root` holds, however deep."""
    if id(root) in seen or not type(root).__module__.startswith(("services.", "shared.", "tests.")):
        return seen
    seen[id(root)] = root
    for value in getattr(root, "__dict__", {}).values():
        for each in value.values() if isinstance(value, dict) else [value]:
            reachable(each, seen)
    return seen


def spy_on(process: Process, crossed: set[str]) -> None:
    """Notes each call of a port's writing method, on whatever object of the process plays that port."""
    for held in reachable(process.subscribers, {}).values():
        for port, methods in writing_methods().items():
            if all(callable(getattr(held, method, None)) for method in {*methods, *READS.get(port, set())}):
                for method in methods:
                    _note(held, method, f"{port}.{method}", crossed)


def _note(held: Any, method: str, name: str, crossed: set[str]) -> None:
    inner = getattr(held, method)

    async def noted(*arguments: Any, **options: Any) -> Any:
        crossed.add(name)
        return await inner(*arguments, **options)

    object.__setattr__(held, method, noted)


async def test_every_write_of_the_executor_is_a_boundary_of_some_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    crossed: set[str] = set()
    start = Cluster.start

    def start_spied(cluster: Cluster, *arguments: Any, **options: Any) -> Process:
        process = start(cluster, *arguments, **options)
        spy_on(process, crossed)
        return process

    monkeypatch.setattr(Cluster, "start", start_spied)
    for scenario in SCENARIOS:
        await play(scenario)
    wanted = {f"{port}.{method}" for port, methods in writing_methods().items() for method in methods}
    assert wanted - crossed == set(), "add a scenario that crosses these, or list them in READS"
    assert crossed <= wanted


async def test_every_acknowledgement_is_a_boundary_of_some_scenario() -> None:
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(handling))) if isinstance(node, ast.Call)]
    functions = [call.func for call in calls if isinstance(call.func, ast.Attribute)]
    said = {each.attr for each in functions if isinstance(each.value, ast.Name) and each.value.id == "message"}
    passed = [name for scenario in SCENARIOS for name in (await play(scenario)).first.boundaries.passed]
    assert said == {name.removeprefix("message.") for name in passed if name.startswith("message.")}


def test_every_write_of_a_blob_is_watched() -> None:
    methods = {name for name, member in vars(Blobs).items() if inspect.iscoroutinefunction(member)}
    watched = {name for name in methods if "boundaries.cross" in inspect.getsource(getattr(WatchedBlobs, name))}
    assert watched == methods - {"load"}


def test_every_write_of_a_collection_is_watched() -> None:
    asked = {name for name, member in vars(Collection).items() if inspect.iscoroutinefunction(member)}
    assert asked == {name for name, member in vars(WatchedCollection).items() if inspect.iscoroutinefunction(member)}
    watched = {name for name in asked if "boundaries.cross" in inspect.getsource(getattr(WatchedCollection, name))}
    assert watched == asked - COLLECTION_READS
