#!/usr/bin/env bash
# The living demo: the appliance, 120 simulated phones that call each other and five native venues in room 9000.
# The main venue's place stays free for you: the link is printed. Ctrl-C ends everything.
set -euo pipefail
config=${1:-configs/linehall.yaml}
data=${2:-./data}
pids=()
finish() {
  trap - EXIT INT TERM
  # The simulated world first, so that phones hang up and venues leave before the appliance goes.
  for (( i = ${#pids[@]} - 1; i >= 0; i-- )); do
    kill -TERM "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
}
trap finish EXIT INT TERM

bin/linehall serve --config "$config" --data "$data" & pids+=($!)
server=$!
for _ in $(seq 300); do
  bin/linehall status --config "$config" --data "$data" >/dev/null 2>&1 && break
  kill -0 "$server" 2>/dev/null || { wait "$server"; exit $?; }
  read -rt 0.2 <> <(:) || true
done

bin/linesim phones --socket "$data/linehall.sock" --demo & pids+=($!)
links=()
for venue in branch1 branch2 branch3 branch4 branch5; do
  links+=(--link "$(bin/linehall room link 9000 --venue "$venue" --config "$config" --data "$data")")
done
bin/linesim rooms "${links[@]}" --ca "$data/pki/root.crt" & pids+=($!)
echo
echo "join as the main venue:  $(bin/linehall room link 9000 --venue hq --config "$config" --data "$data")"
echo "look at everything:      https://127.0.0.1:8443/   (Ctrl-C ends the demo)"
wait "$server"
