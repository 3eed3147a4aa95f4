"""Unknown and repeated query parameters are refused: `?dryrun=true` on a termination must not be taken for a termination, and
of `?dry_run=true&dry_run=false` nobody can tell which of them is meant.
"""

from __future__ import annotations

from fastapi import Request
from fastapi.routing import APIRoute

from orchestrator.config.problems import did_you_mean
from orchestrator.domain.errors import RequestError


async def known_parameters_only(request: Request) -> None:
    """A dependency of every route; what a route takes is what its OpenAPI document says. Raises RequestError."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not request.query_params:
        return
    described = request.app.openapi()["paths"][route.path][request.method.lower()].get("parameters", [])
    known = {parameter["name"] for parameter in described if parameter["in"] == "query"}
    names = [name for name, _value in request.query_params.multi_items()]
    strange = sorted(set(request.query_params) - known)
    if strange:
        takes = f"takes {', '.join(sorted(known))}" if known else "takes no parameters"
        near = did_you_mean(strange[0], known)
        raise RequestError(f"query.{strange[0][:80]}: unknown parameter{near}: this route {takes}")
    for name in sorted(known):
        if names.count(name) > 1:
            raise RequestError(f"query.{name}: given more than once")
