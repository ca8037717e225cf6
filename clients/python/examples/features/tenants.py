"""An interceptor around activities, and a context variable that follows a workflow everywhere.

python clients/python/examples/features/tenants.py
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import perdure
from perdure import ActivityInterceptor, CarryContext, activity, workflow
from perdure.interceptors import ActivityCall, Proceed

tenant: ContextVar[str] = ContextVar("tenant")


class Announce(ActivityInterceptor):
    async def execute_activity(self, call: ActivityCall, proceed: Proceed[ActivityCall]) -> Any:
        print(f"{call.info.name} begins for {tenant.get()}")
        return await proceed(call)


@activity
async def bill(cents: int) -> str:
    return f"{tenant.get()} owes {cents}"


@activity
def archive(line: str) -> str:
    return f"{line}, archived by {tenant.get()}"


@workflow
async def month(cents: int) -> str:
    return await archive(await bill(cents))


if __name__ == "__main__":
    tenant.set("ada")
    interceptors = [CarryContext(tenant=tenant), Announce()]
    print(perdure.run(month, 4200, activities=[bill, archive], interceptors=interceptors))
