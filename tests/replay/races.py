"""How each golden history came about: one function per race, played against the rig."""

from __future__ import annotations

from collections.abc import Callable

from perdure._workflow import workflow_of
from tests.replay import workflows
from tests.replay.beginnings import BEGINNING_RACES
from tests.replay.changes import CHANGE_RACES
from tests.replay.family import FAMILY_RACES
from tests.replay.rig import Rig
from tests.replay.stepping import STEP_RACES


def played(definition: object, value: object) -> Rig:
    """A rig whose first task has run."""
    rig = Rig(definition, value)
    rig.run()
    return rig


def activity_completed() -> Rig:
    rig = played(workflows.one_activity, "o-1")
    rig.after(1).complete(1, "charged o-1").run()
    return rig


def timer_fired() -> Rig:
    rig = played(workflows.timer_or_signal, "o-1")
    rig.fire(1).run()
    return rig


def timer_cancelled() -> Rig:
    rig = played(workflows.timer_or_signal, "o-1")
    rig.after(60).signal("approvals", "yes").run()
    return rig


def timer_fired_while_cancelled() -> Rig:
    """The signal undoes the timer, which fires before the server hears of it."""
    rig = played(workflows.timer_or_signal, "o-1")
    rig.after(3599).signal("approvals", "yes").think()
    rig.fire(1).record()
    return rig


def signal_after_timer_fired() -> Rig:
    """Both arrive in one task, the timer first."""
    rig = played(workflows.timer_or_signal, "o-1")
    rig.fire(1).signal("approvals", "late").run()
    return rig


def activity_completed_while_cancelled() -> Rig:
    """The timeout cancels the activity, whose result arrives before the server hears of it."""
    rig = played(workflows.impatient, "o-1")
    rig.fire(1).think()
    rig.after(1).complete(1, "charged o-1").record()
    rig.after(1).complete(2, "refunded o-1").run()
    return rig


def activity_cancelled() -> Rig:
    """The worker confirms the cancellation before the compensation is done."""
    rig = played(workflows.impatient, "o-1")
    rig.fire(1).run()
    rig.after(1).confirm_cancel(1).run()
    rig.after(1).complete(2, "refunded o-1").run()
    return rig


def activity_and_timer_together() -> Rig:
    """Result and timeout arrive in one task, the result first."""
    rig = played(workflows.impatient, "o-1")
    rig.after(30).complete(1, "charged o-1").fire(1).run()
    return rig


def signal_before_wait() -> Rig:
    rig = played(workflows.compensating, "o-1")
    rig.signal("approvals", "early").run()
    rig.complete(1, "charged o-1").run()
    return rig


def signal_as_it_closes() -> Rig:
    """A second signal arrives while the worker closes the run; it is never seen."""
    rig = played(workflows.closing, "o-1")
    rig.signal("approvals", "yes ").think()
    rig.signal("approvals", "too late").record()
    return rig


def two_signals_at_once() -> Rig:
    """Both arrive in one task; the second is handed back as not consumed."""
    rig = played(workflows.closing, "o-1")
    rig.signal("approvals", "yes ").signal("approvals", "more").run()
    return rig


def cancelled_and_compensated() -> Rig:
    rig = played(workflows.compensating, "o-1")
    rig.complete(1, "charged o-1").run()
    rig.cancel("changed their mind").run()
    rig.complete(2, "refunded o-1").run()
    return rig


def cancelled_during_activity() -> Rig:
    """The result arrives in the same task as the request, after it."""
    rig = played(workflows.compensating, "o-1")
    rig.cancel().complete(1, "charged o-1").run()
    rig.complete(2, "refunded o-1").run()
    return rig


def fan_out() -> Rig:
    rig = played(workflows.fan_out, 4)
    rig.complete(3, "c").complete(1, "a").run()
    rig.complete(2, "b").run()
    rig.complete(4, "d").run()
    return rig


def group_failed() -> Rig:
    """One task fails, the group cancels its siblings in the order of their creation."""
    rig = played(workflows.group, 5)
    rig.complete(2, "b").run()
    rig.fail(4, "card refused").run()
    return rig


def first_of_many() -> Rig:
    rig = played(workflows.first_of, 5)
    rig.complete(3, "c").run()
    return rig


def activities_from_outside() -> Rig:
    """They end in every way, before the code has run, beside it and as the run closes."""
    rig = Rig(workflows.impatient, "o-1")
    rig.schedule_outside(7).fail(-7).run()
    rig.schedule_outside(1).schedule_outside(2).schedule_outside(3).after(1).complete(-1, "seen")
    rig.fire(1).time_out(-2).think()
    rig.schedule_outside(4).cancel_outside(3).record()
    rig.after(1).confirm_cancel(-3).complete(2, "refunded o-1").think()
    rig.schedule_outside(5).record()
    return rig


def failed() -> Rig:
    rig = played(workflows.failing, "o-1")
    rig.fire(1).run()
    return rig


def basket_paid() -> Rig:
    """One thing comes before the payment, one while its charge is under way."""
    rig = played(workflows.workflow_of(workflows.Basket), "ada")
    rig.signal("put", "book").run()
    rig.signal("pay").signal("put", "pen").think()
    rig.signal("put", "ink").record()
    rig.after(1).complete(1, "receipt").run()
    return rig


def basket_left() -> Rig:
    """The day is over in the task that brings the payment, right before it."""
    rig = played(workflows.workflow_of(workflows.Basket), "ada")
    rig.fire(1).signal("pay").run()
    return rig


def scope_cancelled() -> Rig:
    """The result arrives before the server hears that the block was cancelled."""
    rig = played(workflows.stoppable, "o-1")
    rig.signal("approvals", "stop").think()
    rig.complete(1, "charged o-1").record()
    rig.complete(2, "refunded o-1").run()
    return rig


def scope_left() -> Rig:
    rig = played(workflows.stoppable, "o-1")
    rig.complete(1, "charged o-1").run()
    return rig


def as_they_come() -> Rig:
    rig = played(workflows.as_they_come, 4)
    rig.complete(3, "c").complete(1, "a").run()
    rig.complete(4, "d").complete(2, "b").run()
    return rig


def search_attributes_upserted() -> Rig:
    """The second change is alone in its task; the third stands before the closing command."""
    rig = played(workflows.found_by_what_it_does, "o-1")
    rig.after(1).complete(1, "charged o-1").run()
    rig.after(1).signal("approvals", "approved").run()
    return rig


def continued_as_new() -> Rig:
    """It is paused for a while, and goes on with a signal that it has not taken."""
    rig = played(workflows.counting, 1)
    rig.add(workflow_paused={"reason": "look"})
    rig.signal("approvals", "yes").signal("approvals", "more")
    rig.add(workflow_unpaused={})
    rig.run()
    return rig


def continued_from_outside() -> Rig:
    rig = played(workflows.counting, 1)
    rig.add(workflow_continued_as_new={"new_run_id": "run-2", "external": True})
    return rig


def reset_within_a_task() -> Rig:
    """Two of the four had been scheduled where it begins again, in another process."""
    rig = played(workflows.fan_out, 4)
    rig.complete(2, "lost").run()
    rig = rig.after(5).begin_again(3, reason="bug")
    rig.run()
    rig.complete(3, "c").complete(1, "a").run()
    rig.complete(2, "b").complete(4, "d").run()
    return rig


def reset_with_a_signal() -> Rig:
    """The signal came after the event at which it begins again, and is delivered anew."""
    rig = played(workflows.timer_or_signal, "o-1")
    rig.signal("approvals", "yes").run()
    rig = rig.after(5).begin_again(3)
    rig.signal("approvals", "yes").run()
    return rig


def failed_activity_retried() -> Rig:
    rig = played(workflows.one_activity, "o-1")
    rig.after(1).fail(1).run()
    rig = rig.after(5).begin_again(2, activity_seq=1, identity="ann", reason="mended")
    rig.run()
    rig.after(1).complete(1, "charged o-1").run()
    return rig


def cart_paid() -> Rig:
    rig = played(workflow_of(workflows.Cart), None)
    rig.after(1).update("add", "book").run()
    rig.after(1).update("add", "pen").update("add", "ink").update("fly").run()
    rig.after(1).update("pay").run()
    rig.after(1).complete(1, "charged cart").run()
    return rig


def update_as_it_closes() -> Rig:
    """One update waits for an activity while another comes; one comes with the end."""
    rig = played(workflow_of(workflows.Cart), None)
    rig.update("pay").run()
    rig.after(1).update("add", "book").think()
    rig.after(1).complete(1, "charged cart").record()
    rig.update("add", "late").run()
    return rig


def activity_operated() -> Rig:
    """Operators hold it back, change it and let it go on; the code hears of none of it."""
    rig = played(workflows.one_activity, "o-1")
    rig.add(activity_paused={"activity_seq": 1, "reason": "look"})
    rig.add(activity_options_updated={"activity_seq": 1, "priority": 1})
    rig.add(activity_reset={"activity_seq": 1})
    rig.add(activity_unpaused={"activity_seq": 1})
    rig.after(1).complete(1, "charged o-1").run()
    return rig


RACES: dict[str, Callable[[], Rig]] = {
    race.__name__: race
    for race in (
        *BEGINNING_RACES,
        *FAMILY_RACES,
        *CHANGE_RACES,
        *STEP_RACES,
        activity_completed,
        timer_fired,
        timer_cancelled,
        timer_fired_while_cancelled,
        signal_after_timer_fired,
        activity_completed_while_cancelled,
        activity_cancelled,
        activity_and_timer_together,
        signal_before_wait,
        signal_as_it_closes,
        two_signals_at_once,
        cancelled_and_compensated,
        cancelled_during_activity,
        fan_out,
        group_failed,
        first_of_many,
        failed,
        activities_from_outside,
        basket_paid,
        basket_left,
        scope_cancelled,
        scope_left,
        as_they_come,
        search_attributes_upserted,
        continued_as_new,
        continued_from_outside,
        reset_within_a_task,
        reset_with_a_signal,
        failed_activity_retried,
        cart_paid,
        update_as_it_closes,
        activity_operated,
    )
}
