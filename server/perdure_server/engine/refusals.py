"""Owns what follows when the store refuses a changeset for what it found besides the run."""

from __future__ import annotations

from perdure_server.engine.actor import Actor, Flight
from perdure_server.engine.requests import first_answer
from perdure_server.engine.stimuli import Stimulus, deliver, refuse, refuse_all
from perdure_server.store.contract import Store


async def answer_repeats(store: Store, flight: Flight) -> list[Stimulus]:
    """Answers what was answered or recorded before; returns what is to be decided again."""
    again: list[Stimulus] = []
    messages = [stimulus.message for stimulus, _ in flight.answers if stimulus.message]
    try:
        standing = await store.standing_messages(messages) if messages else set()
    except Exception as error:  # noqa: BLE001 - the run must not stay busy for ever
        refuse_all(flight.answers, error)
        return again
    for stimulus, _ in flight.answers:
        try:
            answer = await first_answer(store, stimulus.keys)
        except Exception as error:  # noqa: BLE001 - the same
            refuse(stimulus, error)
            continue
        if answer is None and (stimulus.message is None or stimulus.message in standing):
            again.append(stimulus)
        else:
            deliver([(stimulus, answer)])
    return again


async def learn_taken(store: Store, actor: Actor, flight: Flight) -> bool:
    """Notes the latest runs of the workflow ids that the flight wanted for children.

    False when they cannot be read; then the flight is refused.
    """
    try:
        for draft in flight.drafts[1:]:
            run = draft.run
            run_id = await store.find_run(run.namespace, run.workflow_id, None)
            summary = await store.summarize_run(run_id) if run_id is not None else None
            if summary is not None:
                actor.known[run.workflow_id] = summary.run
    except Exception as error:  # noqa: BLE001 - the run must not stay busy for ever
        refuse_all(flight.answers, error)
        return False
    return True
