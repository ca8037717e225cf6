"""Owns finding calls that workflow code must not make, before and while it runs.

`forbidden_calls` reads the compiled code of a workflow, and of the functions of its module that
it uses. `watch_outside_calls` hears of files, sockets, threads and processes while workflow code
runs. Both report the line; neither stops the code.
"""

from __future__ import annotations

import asyncio
import dis
import logging
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from perdure._replay.loop import WorkflowLoop
from perdure._replay.source import is_perdure

FORBIDDEN: Final = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep"},
    "datetime": {"now", "utcnow", "today"},
    "random": None,
    "secrets": None,
    "uuid": {"uuid1", "uuid4"},
    "posix": {"urandom", "getrandom"},
    "nt": {"urandom"},
}
"""Names by module; None means all of them."""

OUTSIDE: Final = frozenset(
    {
        "open",
        "os.fork",
        "os.posix_spawn",
        "os.system",
        "socket.bind",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.sendto",
        "subprocess.Popen",
        "time.sleep",
        "_thread.start_new_thread",
    }
)
"""Audit events of the interpreter that workflow code must not cause."""

_STDLIB: Final = sysconfig.get_path("stdlib")
_EXEMPTING: Final = frozenset({"side_effect", "step"})
_CALLABLES: Final = (BuiltinFunctionType, FunctionType, MethodType)

_log = logging.getLogger("perdure.replay")


def forbidden_calls(fn: Any) -> list[str]:
    """The calls under `fn` that cannot be replayed, each with its `file:line`."""
    return list(_scan(fn, fn.__code__, set()))


@cache
def watch_outside_calls() -> None:
    """Has the interpreter report, once per line, what workflow code does to the outside.

    The hook stays for the life of the process and costs a set look-up per audit event.
    """
    sys.addaudithook(_audit)


def _scan(fn: FunctionType, code: CodeType, seen: set[CodeType]) -> Iterator[str]:
    if code in seen:
        return
    seen.add(code)
    target: Any = None
    exempt = False
    for instruction in dis.get_instructions(code):
        # What is given to workflow.side_effect and workflow.step may do all that.
        exempt = not instruction.opname.startswith("CALL") and (
            exempt or instruction.argval in _EXEMPTING
        )
        if exempt:
            if isinstance(instruction.argval, CodeType):
                seen.add(instruction.argval)
            continue
        if instruction.opname == "LOAD_GLOBAL":
            target = fn.__globals__.get(instruction.argval)
        elif instruction.opname in {"LOAD_ATTR", "LOAD_METHOD"}:
            target = _attribute(target, instruction.argval)
        else:
            target = None
        if _is_forbidden(target):
            line = instruction.positions.lineno if instruction.positions else code.co_firstlineno
            yield _complaint(f"{code.co_filename}:{line}", f"{target.__name__}()")
        elif isinstance(target, FunctionType) and target.__module__ == fn.__module__:
            yield from _scan(target, target.__code__, seen)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _scan(fn, constant, seen)


def _attribute(owner: Any, name: str) -> Any:
    # Only of modules and classes: reading an attribute of anything else may run code.
    return getattr(owner, name, None) if isinstance(owner, ModuleType | type) else None


def _is_forbidden(target: Any) -> bool:
    if not isinstance(target, _CALLABLES):
        return False
    owner = getattr(target, "__self__", None)
    if owner is None or isinstance(owner, ModuleType):
        module = target.__module__
    else:
        module = (owner if isinstance(owner, type) else type(owner)).__module__
    if module not in FORBIDDEN:
        return False
    names = FORBIDDEN[module]
    return names is None or target.__name__ in names


def _audit(
    event: str,
    args: tuple[Any, ...],  # noqa: ARG001
    *,
    # Bound here, because the end of the interpreter takes this module apart before its hook.
    at_end: Callable[[], bool] = sys.is_finalizing,
) -> None:
    if at_end() or event not in OUTSIDE:
        return
    if isinstance(asyncio._get_running_loop(), WorkflowLoop):  # noqa: SLF001
        line = _outside_line(sys._getframe(1))  # noqa: SLF001
        if line:
            _report(line, event)


def _outside_line(frame: FrameType | None) -> str:
    # Imports and logs open files too, and so does Perdure when it describes an exception.
    while frame is not None:
        file = frame.f_code.co_filename
        if is_perdure(frame.f_code) or file.startswith("<frozen importlib"):
            return ""
        if frame.f_globals.get("__name__", "").startswith("logging"):
            return ""
        if "site-packages" in file or not file.startswith(_STDLIB):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@cache
def _report(line: str, event: str) -> None:
    _log.warning("%s", _complaint(line, event))


def _complaint(line: str, what: str) -> str:
    return (
        f"{line}: {what} in workflow code cannot be replayed; do it in an activity, or use "
        "workflow.now(), workflow.random(), workflow.uuid4(), asyncio.sleep()"
    )
