"""Strikes real processes under load: `python -m tests.chaos [--seconds N] [--seed S] [NAME ...]`.

Prints a table of what was injected and what came of it; ends with 1 unless nothing was lost,
doubled or stranded.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from random import Random

from rich.console import Console
from rich.table import Table

from tests.chaos.attic import BRIEF, Attic
from tests.chaos.load import Load
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.stage import SERVERS, CannotPlayError, opened_stage
from tests.chaos.verdict import judge

_WARM_UP_S = 2.0
_SHOWN = 5
_COLUMNS = (
    "scenario",
    "faults",
    "workflows",
    "lost",
    "doubled",
    "stranded",
    "refused",
    "recovery\np50 s",
    "\nmax s",
    "longest\nwait s",
)
_WIDTH = 104


def main():
    """Plays the scenarios that were named, all by default."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of faults, per scenario")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the logs also when all is well")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCENARIOS))
    options = parser.parse_args()
    if unknown := set(options.names) - SCENARIOS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    console = Console(width=max(_WIDTH, Console().width))
    verdicts = {}
    for name in options.names or SCENARIOS:
        console.print(f"[dim]{name}: {SCENARIOS[name].about}[/dim]")
        try:
            verdicts[name] = asyncio.run(play(SCENARIOS[name], options, console))
        except CannotPlayError as reason:
            console.print(f"  not played: {reason}", highlight=False, markup=False)
    console.print(table_of(verdicts, options))
    return 0 if all(verdict.holds for verdict in verdicts.values()) else 1


async def play(scenario, options, console):
    """Strikes for some seconds under load, waits for the end and judges."""
    luck = Random(f"{options.seed} {scenario.about}")
    stage_of = opened_stage(
        is_proxied=scenario.is_proxied,
        is_skewed=scenario.is_skewed,
        disk_mb=scenario.disk_mb,
        **scenario.settings,
    )
    async with stage_of as stage:
        async with Load([stage.target(first) for first in range(SERVERS)]) as load:
            attic = Attic(stage.ask)
            async with attic.watching():
                await asyncio.sleep(_WARM_UP_S)
                ends_at = time.monotonic() + options.seconds
                while time.monotonic() < ends_at:
                    await scenario.strike(stage, luck)
                    await asyncio.sleep(luck.uniform(*scenario.rest_s))
                await load.settle()
            histories = await load.histories()
            verdict = judge(load.trips, histories, await stage.commit_times(), stage.faults)
            started = await load.clockwork.judge(verdict)
            console.print(f"[dim]schedules started {started} workflows[/dim]")
            console.print(f"[dim]{await errands_of(load, attic, verdict)}[/dim]")
            if scenario.seen is not None:
                console.print(f"  {await scenario.seen(stage)}", highlight=False, markup=False)
        write(verdict, histories, stage)
        show(verdict, stage, console, keep=options.keep)
    return verdict


async def errands_of(load, attic, verdict):
    """Judges the errands and what became of their runs; says how many there were."""
    for errands in load.errands.values():
        await errands.judge(verdict)
    kept = [
        run_id for name in load.errands if name != BRIEF for run_id in load.errands[name].run_ids
    ]
    await attic.judge(verdict, kept)
    updates = sum(errands.updates for errands in load.errands.values())
    resets = sum(errands.resets for errands in load.errands.values())
    return f"{updates} updates, {resets} resets; of {BRIEF} runs {attic.gone} were deleted"


def write(verdict, histories, stage):
    """Leaves the slowest waits, the faults and the histories of what went wrong beside the logs."""
    for fault in stage.faults:
        verdict.slow.append(str(fault))
    (stage.folder / "slow").write_text("\n".join(verdict.slow) + "\n")
    for name in {*verdict.lost, *verdict.doubled, *verdict.stranded}:
        (stage.folder / f"{name}.history").write_text(str(histories.get(name, "")))


def show(verdict, stage, console, *, keep):
    """Says what is wrong, and where the servers' own words are."""
    found = ("lost", "doubled", "stranded", "refused")
    for kind in found:
        for name, what in list(getattr(verdict, kind).items())[:_SHOWN]:
            console.print(f"  {kind}: {name}: {what}", highlight=False, markup=False)
    if verdict.holds and not verdict.refused and not keep:
        shutil.rmtree(stage.folder)
        return
    console.print(f"  the logs are in {stage.folder}", highlight=False, markup=False)


def table_of(verdicts, options):
    """Returns the table of all scenarios.

    Recovery is the time from a fault until the last of what it held up went on; the longest wait is
    that of a task with no further fault meanwhile, which the lease of a session bounds.
    """
    title = f"{options.seconds:g} s of faults each, seed {options.seed}"
    table = Table(*_COLUMNS, title=title)
    for name, verdict in verdicts.items():
        figures = (
            len(verdict.recoveries_s),
            verdict.workflows,
            len(verdict.lost),
            len(verdict.doubled),
            len(verdict.stranded),
            len(verdict.refused),
        )
        times = (verdict.recovery_p50_s, verdict.recovery_max_s, verdict.longest_s)
        table.add_row(name, *map(str, figures), *(f"{value:.1f}" for value in times))
    return table


if __name__ == "__main__":
    sys.exit(main())
