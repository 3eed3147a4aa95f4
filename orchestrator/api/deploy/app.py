"""The desk's application, and what it works with."""

from __future__ import annotations

import re

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from orchestrator.api import problems
from orchestrator.api.deploy import routes
from orchestrator.api.deploy.context import Desk as Desk
from orchestrator.api.deploy.guesses import Guesses
from orchestrator.api.rim import UNTRACED, Rim
from orchestrator.api.strict import known_parameters_only
from orchestrator.domain.errors import OrchestratorError

# An inspection of a machine with a hundred disks, or the rows of their erasure.
BODY_LIMIT = 256 * 1024
_SECRET = re.compile(r"(/media/)[^/]+")


def create_desk(desk: Desk) -> FastAPI:
    """The application over ``desk``."""
    app = FastAPI(title="Desk of the deploy image", openapi_url=None, docs_url=None, redoc_url=None, telemetry=UNTRACED)
    app.state.desk = desk
    app.state.ending = False
    app.state.guesses = Guesses(desk.clock)
    app.include_router(routes.router, dependencies=[Depends(known_parameters_only)])
    app.add_exception_handler(OrchestratorError, problems.answer_error)
    app.add_exception_handler(RequestValidationError, problems.answer_invalid)
    app.add_exception_handler(HTTPException, problems.answer_http)
    app.add_middleware(Rim, body_limit=BODY_LIMIT, clock=desk.clock, logged=lambda path: _SECRET.sub(r"\1…", path))
    return app
