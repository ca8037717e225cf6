"""The whole REST surface that Perdure promises, row by row, and what of it is still to come."""

from __future__ import annotations

BASE = "/api/v1"

ROWS = """
POST /workflows
POST /workflows:execute
GET /workflows
GET /workflows:count
GET /workflows/{id}
GET /workflows/{id}/result
GET /workflows/{id}/events
GET /workflows/{id}/events/stream
GET /workflows/{id}/children
GET /workflows/{id}/state
GET /workflows/{id}/state/{name}
POST /workflows/{id}/query/{name}
POST /workflows/{id}/update/{name}
POST /workflows/{id}/signal/{name}
POST /workflows/{id}/cancel
POST /workflows/{id}/terminate
POST /workflows/{id}/pause
POST /workflows/{id}/unpause
POST /workflows/{id}/continue-as-new
POST /workflows/{id}/reset
POST /workflows/{id}/retry
GET /workflows/{id}/explain
POST /workflows/{id}/activities
GET /activities/{id}
POST /workflow-tasks/poll
POST /workflow-tasks/{id}/commands
POST /tasks/poll
POST /tasks/{id}/complete
POST /tasks/{id}/fail
POST /tasks/{id}/heartbeat
GET /tasks/stream
POST /workers/register
POST /workers/heartbeat
GET /workers
GET /queues
POST /namespaces
GET /namespaces
GET /namespaces/{name}
DELETE /namespaces/{name}
POST /schedules
GET /schedules
GET /schedules/{name}
PATCH /schedules/{name}
DELETE /schedules/{name}
POST /schedules/{name}/pause
POST /schedules/{name}/resume
POST /schedules/{name}/trigger
POST /schedules/{name}/backfill
GET /schedules/{name}/preview
POST /api-keys
GET /api-keys
DELETE /api-keys/{prefix}
GET /events/stream
GET /health
GET /version
GET /openapi.json
"""

TO_COME: dict[str, set[str]] = {}
"""Rows by the feature that they wait for. The list only gets shorter."""

STATUSES = {
    "POST /workflows": [201],
    "GET /workflows/{id}/result": [200, 202],
    "POST /workflows/{id}/update/{name}": [200, 202],
    "POST /workflows/{id}/activities": [201],
    "POST /workflows/{id}/continue-as-new": [201],
    "POST /workflows/{id}/reset": [201],
    "POST /namespaces": [201],
    "POST /schedules": [201],
    "POST /api-keys": [200, 201],
    "DELETE /api-keys/{prefix}": [204],
}
"""Statuses of success where they are not 200 alone."""

STREAMS = {"GET /workflows/{id}/events/stream", "GET /tasks/stream", "GET /events/stream"}
PUBLIC = {"GET /health", "GET /version", "GET /openapi.json"}

STILL_NULL = {
    "Workflow": {"archived_at", "archive_uri"},
    "Activity": set(),
    "ActivityTask": {"result", "error", "completed_at", "last_heartbeat"},
}
"""Keys of the records that nothing can set: of an attempt that is handed out, what comes later."""

WORKFLOW_KEYS = """
id namespace run_id workflow_type task_queue status input result error failure parent_id
search_attributes memo attempt history_length created_at updated_at started_at completed_at
archived_at archive_uri
"""
ACTIVITY_KEYS = """
id workflow_id run_id seq name task_queue input status result error attempt max_attempts
initial_interval_secs backoff_coefficient max_interval_secs start_to_close_secs
schedule_to_close_secs heartbeat_timeout_secs claimed_by scheduled_at started_at completed_at
last_heartbeat heartbeat_details
"""


def rows() -> list[str]:
    """Returns the rows in their order."""
    return ROWS.strip().split("\n")
