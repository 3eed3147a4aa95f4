"""What somebody would write by hand to take a webhook: ``python -m tests.benchmarks.bare_webhook PORT FILE SECRET [line]``.

It verifies the signature and writes three rows in one transaction, as durable as ours: the event, the service, the job.
SQLite lets whoever asks at the right moment write next, however long others have waited; with ``line`` they write in turn.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from contextlib import AbstractContextManager, nullcontext

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.concurrency import run_in_threadpool

TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE events (id TEXT PRIMARY KEY, body TEXT);
CREATE TABLE services (id TEXT PRIMARY KEY, plan TEXT, state TEXT);
CREATE TABLE jobs (id TEXT PRIMARY KEY, service_id TEXT, state TEXT);
"""


def app_of(file: str, secret: str, turn: AbstractContextManager[object]) -> FastAPI:
    app, hook, local = FastAPI(), Webhook(secret), threading.local()
    with sqlite3.connect(file) as made:
        made.executescript(TABLES)

    def connection() -> sqlite3.Connection:
        if not hasattr(local, "connection"):
            local.connection = sqlite3.connect(file, isolation_level=None, timeout=30)
            local.connection.execute("PRAGMA synchronous = FULL")
        found: sqlite3.Connection = local.connection
        return found

    def keep(event_id: str, body: bytes) -> str:
        data = json.loads(body)["data"]
        database = connection()
        with turn:
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT INTO events VALUES (?, ?)", (event_id, body))
            database.execute("INSERT INTO services VALUES (?, ?, 'ordered')", (data["service_id"], data["plan"]))
            database.execute("INSERT INTO jobs VALUES (?, ?, 'queued')", (f"j-{event_id}", data["service_id"]))
            database.execute("COMMIT")
        return f"j-{event_id}"

    @app.post("/v1/webhooks/shop")
    async def webhook(request: Request, response: Response) -> dict[str, str]:
        body = await request.body()
        try:
            hook.verify(body, dict(request.headers))
        except WebhookVerificationError as exc:
            raise HTTPException(401) from exc
        job_id = await run_in_threadpool(keep, request.headers["webhook-id"], body)
        response.status_code = 202
        return {"job_id": job_id}

    return app


if __name__ == "__main__":
    in_turn: AbstractContextManager[object] = threading.Lock() if sys.argv[4:] == ["line"] else nullcontext()
    uvicorn.run(
        app_of(sys.argv[2], sys.argv[3], in_turn), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False
    )
