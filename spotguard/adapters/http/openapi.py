"""`/openapi.json`: the schemas come from the same dataclasses that are answered, so that they can not drift apart."""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from spotguard.core.rehearsal import Asks, DrillReport
from spotguard.core.status import CheckpointStatus, GivenUp, InterruptionStatus, Status
from spotguard.ports.daemon_control import Health

STATUS: Final = TypeAdapter(Status)
CHECKPOINTS: Final = TypeAdapter(tuple[CheckpointStatus, ...])
INTERRUPTION: Final = TypeAdapter(InterruptionStatus)
HEALTH: Final = TypeAdapter(Health)
DRILL: Final = TypeAdapter(DrillReport)

_REF = "#/components/schemas/{model}"
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_READINESS = {
    "type": "object",
    "properties": {"ready": {"type": "boolean"}, "reasons": {"type": "array", "items": {"type": "string"}}, "error": {"type": "string"}},
    "required": ["ready", "reasons"],
}


def _schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of each answer by name, and the components that they refer to."""
    adapters: dict[str, TypeAdapter[Any]] = {
        "status": STATUS,
        "checkpoints": CHECKPOINTS,
        "interruption": INTERRUPTION,
        "health": HEALTH,
        "drill": DRILL,
        "given_up": TypeAdapter(GivenUp),
    }
    by_key, definitions = TypeAdapter.json_schemas(
        [(name, "serialization", adapter) for name, adapter in adapters.items()], ref_template=_REF
    )
    return {name: schema for (name, _), schema in by_key.items()}, definitions.get("$defs", {})


def describe(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 description of the interface."""
    answers, components = _schemas()
    components |= {"Error": _ERROR, "Readiness": _READINESS}
    wait = _query("wait", "Wait up to so many seconds, at most 300.")
    flushed = {
        "type": "object",
        "properties": {
            "committed": {"type": "array", "items": {"type": "string"}},
            "unfinished": {"type": "array", "items": answers["given_up"]},
        },
        "required": ["committed", "unfinished"],
    }
    started = {"type": "object", "properties": {"started": {"type": "boolean"}, "seconds": {"type": "number"}}}
    declared = {"type": "object", "properties": {"name": {"type": "string"}, "declared": {"type": "boolean"}}}
    ready = {"$ref": "#/components/schemas/Readiness"}
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Slashes raw or as %2F."}
    paths = {
        "/status": {"get": _call("All that the daemon knows of itself.", answers["status"])},
        "/healthz": {"get": _call("Whether the daemon is alive, and whose it is.", answers["health"])},
        "/readyz": {"get": _call("Whether it watches and reaches what it needs.", ready, {"503": ready})},
        "/metrics": {"get": {"summary": "Prometheus metrics.", "responses": {"200": {"description": "", "content": {"text/plain": {}}}}}},
        "/events": {
            "get": {
                "summary": "The status as it changes: server-sent events of the kinds clock, headline and status.",
                "responses": {"200": {"description": "until the client goes away", "content": {"text/event-stream": {}}}},
            }
        },
        "/checkpoints": {"get": _call("The checkpoints of /status.", answers["checkpoints"])},
        "/interruption": {"get": _call("The pending interruption.", answers["interruption"], {"404": _error()}, [wait])},
        "/flush": {"post": _call("Commit what is complete.", flushed, parameters=[wait])},
        "/checkpoints/{name}/complete": {
            "post": _call("The trainer says that the checkpoint is whole.", declared, {"404": _error()}, [name])
        },
        "/drill": {
            "get": _call("What the last drill came to.", answers["drill"], {"404": _error()}, [wait]),
            "post": _call("Rehearse an interruption.", started, {"409": _error()}, _drill_parameters(), "202"),
        },
    }
    return {"openapi": "3.1.0", "info": {"title": "spotguard", "version": version}, "paths": paths, "components": {"schemas": components}}


def _drill_parameters() -> list[dict[str, Any]]:
    asks = {"type": "string", "enum": list(Asks)}
    return [
        _query("seconds", "Until the notice's time."),
        {"name": "asks", "in": "query", "schema": asks, "description": "What the trainer is asked: to save and go on, to stop, nothing."},
        {"name": "hooks", "in": "query", "schema": {"type": "boolean"}, "description": "Whether the hooks run."},
    ]


def _error() -> dict[str, Any]:
    return {"$ref": "#/components/schemas/Error"}


def _query(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "number", "minimum": 0}}


def _call(
    summary: str,
    schema: dict[str, Any],
    others: dict[str, dict[str, Any]] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    status: str = "200",
) -> dict[str, Any]:
    def response(schema: dict[str, Any], description: str) -> dict[str, Any]:
        return {"description": description, "content": {"application/json": {"schema": schema}}}

    responses = {status: response(schema, "the answer")}
    responses |= {code: response(other, "not so") for code, other in (others or {}).items()}
    responses["default"] = response(_error(), "refused or failed")
    return {"summary": summary, "responses": responses} | ({"parameters": parameters} if parameters else {})
