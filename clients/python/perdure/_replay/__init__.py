"""The replay machine: history in, commands out; no I/O, no clock, no threads.

The replay rule, the same in every language:

1. Events are applied one at a time in the order of `seq`. After each one the code runs until it
   is blocked. Workflow time is the timestamp of the event being applied.
2. What the code asks for while it runs is kept aside. When it has blocked, what was undone
   meanwhile is dropped, the rest is numbered, per kind from 1, and joins a queue. From then on it
   is final: undoing it is a command of its own.
3. A recorded command event takes the oldest command from the queue and must be the same: kind,
   number, name. Anything else is a determinism failure.
4. What is left in the queue when the events end, and was not sent before, is what the worker
   sends.
5. Activities that were scheduled from outside have negative numbers. Their events are skipped.

So a run that stayed in memory and one that is replayed from its first event cannot differ.

`machine.py` applies events, `run.py` is what workflow code can ask for, `journal.py` is the
queue, `commands.py` holds one automaton per command kind, `relations.py` and `children.py` own
what goes to other workflows, `effects.py` what is made once, `signals.py` the mailbox, `loop.py`
the event loop, `source.py` finds the author's line, `forbidden.py` finds calls that workflow code
must not make, `replayer.py` replays a stored history.
"""
