#!/usr/bin/env bash
# A whole Perdure worker in bash, curl and jq: it runs the workflow `approval` with an activity, a timer and a signal.
#
#   clients/shell/worker.sh [URL [QUEUE]]        default: http://127.0.0.1:8080 shell
#
# Start a workflow for it, and approve it:
#
#   curl -sd '{"workflow_type": "approval", "workflow_id": "a-1", "task_queue": "shell", "input": {"name": "Ada"}}' \
#     http://127.0.0.1:8080/api/v1/workflows
#   curl -sd '{"payload": {"by": "Grace"}}' http://127.0.0.1:8080/api/v1/workflows/a-1/signal/approve
#   curl -s 'http://127.0.0.1:8080/api/v1/workflows/a-1/result?wait_secs=60'
#
# Kill it at any moment and start it again: the workflow goes on where it stopped. With PERDURE_API_KEY set, every call
# carries that key. jq reads numbers as doubles, so a value with more than 15 digits belongs into a string here.
set -euo pipefail

url=${1:-http://127.0.0.1:8080}/api/v1
queue=${2:-shell}
poll_secs=20

# --- the workflow ---------------------------------------------------------------------------------
#
# A workflow is a function from its history to its next commands. It is called again after everything that happens,
# looks up what is already done, and asks for the first thing that is not. Asking twice for the same `seq` is harmless:
# the engine knows it by its number.

# shellcheck disable=SC2016 # The dollars are jq's.
approval='
  def events($type): [.history[] | select(.event_type == $type) | .payload];
  def activity($type; $seq): [events($type)[] | select(.activity_seq == $seq)][0];
  def fired($seq): any(events("TimerFired")[]; .timer_seq == $seq);
  def signals($name): [events("SignalReceived")[] | select(.signal == $name) | .payload];

  if (events("WorkflowCancelRequested") | length) > 0 then
    {type: "CancelWorkflow"}
  elif activity("ActivityFailed"; 1) // activity("ActivityTimedOut"; 1) then
    {type: "FailWorkflow", error: "nobody could be greeted"}
  elif activity("ActivityCompleted"; 1) | not then
    {type: "ScheduleActivity", seq: 1, name: "greet", input: .input, start_to_close_secs: 30}
  elif fired(1) | not then
    {type: "ScheduleTimer", seq: 1, duration_secs: 1}
  elif (signals("approve") | length) == 0 then
    {type: "WaitForSignal", name: "approve"}
  else
    {type: "CompleteWorkflow", result: {
      greeting: activity("ActivityCompleted"; 1).result,
      approved_by: signals("approve")[0].by
    }}
  end
'

# --- the activity ---------------------------------------------------------------------------------

# Takes its input as JSON, prints its result as JSON. A non-zero exit code is a failed attempt, tried again later.
greet() {
  jq -c '"Hello, \(.name)!"' <<<"$1"
}

# --- the worker -----------------------------------------------------------------------------------

# Sends the JSON on standard input. Prints the answer; fails, with the answer on standard error, unless it is a success.
post() {
  local headers=(-H 'content-type: application/json')
  if [[ -n ${PERDURE_API_KEY:-} ]]; then
    # From a file, so that no list of processes shows the key.
    headers+=(-H @<(printf 'authorization: Bearer %s\n' "$PERDURE_API_KEY"))
  fi
  local answer
  if ! answer=$(curl -sS --fail-with-body --max-time $((poll_secs + 20)) "${headers[@]}" --data-binary @- "$url$1"); then
    echo "worker: POST $1: $answer" >&2
    return 1
  fi
  printf '%s' "$answer"
}

register() {
  jq -nc --arg queue "$queue" --arg identity "shell-$$@${HOSTNAME:-localhost}" \
    '{identity: $identity, queue: $queue, workflows: ["approval"], activities: ["greet"]}' |
    post /workers/register | jq -er .worker_id
}

# Prints the next task of a kind (`tasks` or `workflow-tasks`), or nothing when there was none for a while.
poll() {
  jq -nc --arg queue "$queue" --arg worker_id "$worker_id" --argjson wait_secs "$poll_secs" \
    '{queue: $queue, worker_id: $worker_id, wait_secs: $wait_secs}' |
    post "/$1/poll" | jq -c 'select(. != null and has("task_token") or (has("id")? // false))'
}

run_workflow_task() {
  local task=$1 commands id
  commands=$(jq -c "[$approval]" <<<"$task")
  id=$(jq -r '.workflow_id | @uri' <<<"$task")
  jq -c --arg worker_id "$worker_id" --argjson commands "$commands" \
    '{worker_id: $worker_id, task_token, commands: $commands}' <<<"$task" |
    post "/workflow-tasks/$id/commands" >/dev/null
}

run_activity_task() {
  local task=$1 id input result
  id=$(jq -r .id <<<"$task")
  # The input of an activity task is JSON text in a string.
  input=$(jq -r '.input // "null"' <<<"$task")
  if result=$(greet "$input"); then
    jq -nc --argjson result "$result" '{result: $result}' | post "/tasks/$id/complete" >/dev/null
  else
    jq -nc '{error: "greet has failed"}' | post "/tasks/$id/fail" >/dev/null
  fi
}

# Polls for one kind of task for ever; after an error it waits longer and longer, up to 30 seconds.
serve() {
  local kind=$1 run=$2 pause=1 task
  while true; do
    if task=$(poll "$kind") && { [[ -z $task ]] || "$run" "$task"; }; then
      pause=1
    else
      sleep "$pause"
      pause=$((pause < 30 ? pause * 2 : 30))
    fi
  done
}

# The server forgets a registered worker that it does not hear for 90 seconds.
stay_known() {
  while sleep 30; do
    jq -nc --arg worker_id "$worker_id" '{worker_id: $worker_id}' | post /workers/heartbeat >/dev/null ||
      echo "worker: not known any more; start it again" >&2
  done
}

worker_id=$(register)
echo "worker $worker_id takes tasks of queue $queue"
# Each loop gets a process group, so that its curl ends with it and takes no task that nobody would do.
set -m
trap 'for group in $(jobs -p); do kill -- "-$group" 2>/dev/null || true; done' EXIT
trap 'exit 0' INT TERM
serve workflow-tasks run_workflow_task &
serve tasks run_activity_task &
stay_known &
wait
