"""Is the process up; can it do all of its work."""

import asyncio
from collections.abc import Awaitable

from aiohttp import web

from neuralib import __version__
from neuralib.errors import FieldError, NeuralibError, NotReady

from .calls import Call
from .models import live_services
from .replies import reply

CHECK_S = 5.0
BUILT_IN = "neuralib"
NEEDLESS = frozenset({"echo"})
"""Comes with us, too, but a service without it lacks nothing."""


async def healthz(call: Call) -> web.Response:  # noqa: ARG001 - a handler's signature
    return reply({"status": "ok", "version": __version__})


async def readyz(call: Call) -> web.Response:
    """Raises NotReady, naming everything that is missing."""
    services = call.services
    checks = {
        "database": services.db.check(),
        "queue": services.queues.check(),
        "storage": services.objects.check(),
        "workers": _workers(call),
    }
    found = await asyncio.gather(*(_check(name, check) for name, check in checks.items()))
    wrong = [each for each in found if each is not None]
    if wrong:
        raise NotReady("; ".join(each.message for each in wrong), fields=wrong)
    return reply({"status": "ready", "checks": dict.fromkeys(checks, "ok")})


async def _check(name: str, check: Awaitable[None]) -> FieldError | None:
    try:
        async with asyncio.timeout(CHECK_S):
            await check
    except NotReady as error:
        return FieldError(f"/{name}", error.code, error.detail)
    except NeuralibError as error:
        return FieldError(f"/{name}", error.code, error.title())
    except TimeoutError:
        return FieldError(f"/{name}", "timeout", f"the {name} did not answer within {CHECK_S:g} s")
    return None


async def _workers(call: Call) -> None:
    """A live worker for every model that comes with us to be used; plug-ins are their operator's own affair."""
    registry = call.services.registry
    ours = {model for model in registry.names if registry.plugin(model).name == BUILT_IN}
    missing = sorted(ours - NEEDLESS - (await live_services(call)).keys())
    if missing:
        raise NotReady(f"no live worker serves {', '.join(missing)}")
