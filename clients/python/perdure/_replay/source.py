"""Owns finding the author's line: the innermost frame that is neither asyncio's nor Perdure's."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

_ASYNCIO: Final = str(Path(asyncio.__file__).parent)
_BOTTOM: Final = asyncio.Handle._run.__code__  # noqa: SLF001 -- below it is no workflow code
_PERDURE: Final = str(Path(__file__).parent.parent)


def caller_line(depth: int = 1) -> str:
    """The author's line on the current stack as `file:line`; empty when asyncio alone is running.

    `depth` skips that many frames, the caller's own included.
    """
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001 -- the cheapest way to a line
    while frame is not None and frame.f_code is not _BOTTOM:
        if is_author(frame.f_code):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def is_author(code: CodeType) -> bool:
    """Tells whether the code is neither asyncio's nor Perdure's."""
    return not code.co_filename.startswith((_ASYNCIO, _PERDURE))


def is_perdure(code: CodeType) -> bool:
    """Tells whether the code is Perdure's."""
    return code.co_filename.startswith(_PERDURE)


def await_line(coroutine: Any) -> str:
    """The author's line at which a suspended coroutine waits, as `file:line`.

    Empty when it does not wait.
    """
    lines = await_lines(coroutine)
    return lines[-1] if lines else ""


def await_lines(coroutine: Any) -> list[str]:
    """The author's lines through which a suspended coroutine waits, outermost first."""
    lines = []
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        if is_author(frame.f_code):
            lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        coroutine = coroutine.cr_await
    return lines
