"""What becomes of each public name of AutoGen's runtime API: same, renamed, changed, left out.

`autogen_api.json` holds AutoGen 0.7.5's names and signatures; `autogen_api.py` makes it. A name
that is not in `VERDICTS` has to be here too, in the same place, and take the same arguments.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import callboard
from autogen_api import TABLE, Kind, signature_of

AUTOGEN: dict[str, dict[str, Any]] = json.loads(TABLE.read_text())


@dataclass(frozen=True)
class Renamed:
    """It is here under another name."""

    to: str


@dataclass(frozen=True)
class Changed:
    """It is here under its name, and is used in another way."""

    how: str


@dataclass(frozen=True)
class LeftOut:
    """It is not here."""

    why: str


Verdict: TypeAlias = Renamed | Changed | LeftOut

NOT_A_RUNTIME = LeftOut(
    "belongs to models, tools and configuration, not to a runtime: import it from autogen_core"
)
TELEMETRY = LeftOut("spans are opened by OpenTelemetry's own API, and hang below the handler's")
LOGGING = LeftOut("loggers have the names of Callboard's modules; no payload is ever logged")

LOCAL, WORKER, HOST = (
    "autogen_core.SingleThreadedAgentRuntime",
    "autogen_ext.runtimes.grpc.GrpcWorkerAgentRuntime",
    "autogen_ext.runtimes.grpc.GrpcWorkerAgentRuntimeHost",
)

VERDICTS: dict[str, Verdict] = {
    **dict.fromkeys(
        (
            "autogen_core.CacheStore",
            "autogen_core.Component",
            "autogen_core.ComponentBase",
            "autogen_core.ComponentFromConfig",
            "autogen_core.ComponentLoader",
            "autogen_core.ComponentModel",
            "autogen_core.ComponentSchemaType",
            "autogen_core.ComponentToConfig",
            "autogen_core.ComponentType",
            "autogen_core.FunctionCall",
            "autogen_core.Image",
            "autogen_core.InMemoryStore",
            "autogen_core.is_component_class",
            "autogen_core.is_component_instance",
        ),
        NOT_A_RUNTIME,
    ),
    "autogen_core.trace_create_agent_span": TELEMETRY,
    "autogen_core.trace_invoke_agent_span": TELEMETRY,
    "autogen_core.trace_tool_span": TELEMETRY,
    "autogen_core.ROOT_LOGGER_NAME": LOGGING,
    "autogen_core.EVENT_LOGGER_NAME": LOGGING,
    "autogen_core.TRACE_LOGGER_NAME": LOGGING,
    LOCAL: Renamed("callboard.local.LocalRuntime"),
    f"{LOCAL}.__init__.tracer_provider": TELEMETRY,
    f"{LOCAL}.__init__.ignore_unhandled_exceptions": LeftOut(
        "a handler that raises makes its event a dead letter and leaves the runtime alone"
    ),
    f"{LOCAL}.process_next": LeftOut("turns run by themselves; stop_when_idle waits for them"),
    WORKER: Renamed("callboard.worker.WorkerRuntime"),
    f"{WORKER}.__init__.tracer_provider": TELEMETRY,
    f"{WORKER}.__init__.extra_grpc_config": Changed("a keyword"),
    f"{WORKER}.__init__.payload_serialization_format": LeftOut(
        "each message travels in the format of its serializer, in calls and in events"
    ),
    HOST: Renamed("callboard.host.Host"),
    f"{HOST}Servicer": LeftOut("the inside of a host"),
}


def verdict_on(name: str) -> Verdict | None:
    """What the table says of a name; of a member what it says of its class, if that is left out."""
    if name in VERDICTS:
        return VERDICTS[name]
    owner = VERDICTS.get(owner_of(name))
    return owner if isinstance(owner, LeftOut) else None


def owner_of(name: str) -> str:
    """The class that a name belongs to; for a module's own name that of the module."""
    return name.rpartition(".")[0]


def ours(name: str) -> Any:
    """What stands here for a name of AutoGen's; fails when nothing does."""
    verdict = VERDICTS.get(name)
    if isinstance(verdict, Renamed):
        module, _, renamed = verdict.to.rpartition(".")
        return getattr(importlib.import_module(module), renamed)
    owner = owner_of(name)
    if AUTOGEN.get(owner, {}).get("kind") == Kind.CLASS:
        return member(ours(owner), name.rpartition(".")[2])
    module = owner.replace("autogen_core", "callboard")
    return getattr(importlib.import_module(module), name.rpartition(".")[2])


def member(cls: Any, name: str) -> Any:
    """A member of a class; for one that only instances have, its annotation."""
    annotations: dict[str, Any] = {}
    for base in cls.__mro__:
        annotations |= inspect.get_annotations(base)
    found = inspect.getattr_static(cls, name, annotations.get(name))
    assert found is not None, f"{cls.__name__} has no {name}"
    return found


def misfits(name: str, theirs: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """The ways in which a call that AutoGen takes would fail here."""
    if theirs["kind"] != here["kind"]:
        return [f"{name} is a {here['kind']}, not a {theirs['kind']}"]
    found = []
    parameters = {each[0]: each for each in here["parameters"]}
    positions = [each[0] for each in here["parameters"] if each[1] != "KEYWORD_ONLY"]
    expected = [each for each in theirs["parameters"] if f"{name}.{each[0]}" not in VERDICTS]
    for position, (parameter, kind, has_default) in enumerate(expected):
        there = parameters.pop(parameter, None)
        if there is None:
            found.append(f"{name} takes no {parameter}")
        elif kind != "KEYWORD_ONLY" and positions[position : position + 1] != [parameter]:
            found.append(f"{name} has {parameter} in another place")
        elif kind != "POSITIONAL_ONLY" and there[1] == "POSITIONAL_ONLY":
            found.append(f"{name} takes {parameter} by place only")
        elif has_default and not there[2]:
            found.append(f"{name} requires {parameter}")
    return found + [f"{name} requires {each[0]} too" for each in parameters.values() if not each[2]]


SAME = [name for name in AUTOGEN if not isinstance(verdict_on(name), LeftOut | Changed)]


@pytest.mark.parametrize("name", SAME)
def test_what_is_the_same_or_renamed_is_here(name: str) -> None:
    """Each name stands for the same kind of thing and takes the arguments that AutoGen takes."""
    theirs, here = AUTOGEN[name], ours(name)
    match theirs["kind"]:
        case Kind.CLASS:
            assert inspect.isclass(here)
        case Kind.FUNCTION | Kind.COROUTINE:
            is_method = AUTOGEN.get(owner_of(name), {}).get("kind") == Kind.CLASS
            is_bound = isinstance(here, classmethod | staticmethod)
            function = here.__func__ if is_bound else here
            described = signature_of(function, is_method=is_method)
            assert misfits(name, theirs, described) == []


CHANGED = [name for name, verdict in VERDICTS.items() if isinstance(verdict, Changed)]


@pytest.mark.parametrize("name", CHANGED)
def test_what_is_changed_is_here_and_not_the_same(name: str) -> None:
    """A name with another use exists; were it the same by now, the table would be wrong."""
    callable_name = name if name in AUTOGEN else owner_of(name)
    here = signature_of(ours(callable_name), is_method=True)
    theirs = AUTOGEN[callable_name]
    if callable_name == name:
        assert misfits(name, theirs, here)
    else:
        parameter = name.rpartition(".")[2]
        (there,) = [each for each in here["parameters"] if each[0] == parameter]
        assert there not in theirs["parameters"]


LEFT_OUT = [name for name, verdict in VERDICTS.items() if isinstance(verdict, LeftOut)]


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_says_why_and_is_not_here(name: str) -> None:
    """A name that came after all is taken off the table."""
    verdict = VERDICTS[name]
    assert isinstance(verdict, LeftOut)
    assert verdict.why
    owner, last = owner_of(name), name.rpartition(".")[2]
    if owner in AUTOGEN and AUTOGEN[owner]["kind"] == Kind.CLASS:
        assert not hasattr(ours(owner), last)
    elif owner in AUTOGEN:
        parameters = signature_of(ours(owner), is_method=True)["parameters"]
        assert last not in [each[0] for each in parameters]
    else:
        assert not hasattr(callboard, last)


def test_every_verdict_is_about_something() -> None:
    """The table names nothing that AutoGen does not have."""
    parameters = {
        f"{name}.{each[0]}"
        for name, about in AUTOGEN.items()
        for each in about.get("parameters", ())
    }
    assert VERDICTS.keys() <= AUTOGEN.keys() | parameters


def test_every_verdict_is_on_the_page_for_those_who_move() -> None:
    """docs/from-autogen.md names all that is not the same."""
    page = (Path(__file__).parent.parent / "docs" / "from-autogen.md").read_text(encoding="utf-8")
    named = {each.rpartition(".")[2] for each in re.findall(r"`([\w.]+)`", page)}
    assert {name.rpartition(".")[2] for name in VERDICTS} - named == set()


def test_the_values_are_the_same() -> None:
    """What travels is named as AutoGen names it."""
    assert callboard.JSON_DATA_CONTENT_TYPE == "application/json"
    assert callboard.PROTOBUF_DATA_CONTENT_TYPE == "application/x-protobuf"


def test_everything_exported_is_there_and_described() -> None:
    """``from callboard import *`` works, in order, and every class and function has a docstring."""
    assert sorted(set(callboard.__all__)) == sorted(callboard.__all__)
    for name in callboard.__all__:
        exported = getattr(callboard, name)
        assert isinstance(exported, str) or exported.__doc__


def test_each_name_comes_from_one_place() -> None:
    """`__all__`, what is imported on demand and what type checkers read are the same names."""
    tree = ast.parse(Path(callboard.__file__).read_text(encoding="utf-8"))
    imported = {
        name.name: each.module
        for each in ast.walk(tree)
        if isinstance(each, ast.ImportFrom) and (each.module or "").startswith("callboard.")
        for name in each.names
    }
    on_demand = [(name, module) for module, names in callboard._MODULES.items() for name in names]

    assert sorted(on_demand) == sorted(imported.items())
    assert sorted(imported) == sorted(callboard.__all__)
    for name, module in on_demand:
        assert getattr(callboard, name) is getattr(importlib.import_module(module), name)


def test_what_the_package_lists_is_there() -> None:
    """`dir` names what can be asked for, a class travels by pickle, a wrong name is an error."""
    assert set(callboard.__all__) | {"agent", "core"} <= set(dir(callboard))
    assert dict(inspect.getmembers(callboard))["AgentId"] is callboard.AgentId
    assert pickle.loads(pickle.dumps(callboard.AgentId)) is callboard.AgentId
    with pytest.raises(AttributeError, match="'callboard' has no attribute 'Agnet'"):
        callboard.Agnet  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    "statement",
    [
        "from callboard import *; Agent, AgentId, event",
        "import callboard; callboard.agent.agent.Agent, callboard.core.errors.CallboardError",
        "import callboard; callboard.core.identity, callboard.agent.serializers",
        "from callboard import local, core, AgentId; local.LocalRuntime, core.identity",
        "import callboard.worker; callboard.worker.WorkerRuntime, callboard.Agent",
    ],
)
def test_it_can_be_imported_in_every_way(statement: str) -> None:
    """In a process of its own, where nothing is loaded yet, each form of import works."""
    done = subprocess.run(
        [sys.executable, "-c", statement], check=False, capture_output=True, text=True
    )

    assert done.stderr == ""
