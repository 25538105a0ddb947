# What the scripts beside this one share. Each of them sources it first: it stops at the first failing command, goes
# to the top of the tree (so all paths are from there) and names the folders that several scripts need.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CARGO=${CARGO:-cargo}
UI=gateway/ui
E2E=gateway/tests/e2e
K8S=k8s/check

# fail LINE…: says why on standard error and ends the script.
fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

# Where cargo builds.
target_dir() {
  "$CARGO" metadata --no-deps --offline --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

# The room on the disk that a first build and all its tests need, and one after it.
disk_room() {
  if [ -d "$(target_dir)/debug/deps" ]; then echo 1GiB; else echo 8GiB; fi
}

# phase NAME COMMAND…: runs a command, and prints what begins, how long it took, or that it failed. COMMAND is a
# program and not a function: inside a function that is called this way, bash would go on after a failure.
phase_names=()
phase_results=()
phase() {
  local name=$1 start=$SECONDS status=0 result
  shift
  printf '\n==> %s\n' "$name"
  "$@" || status=$?
  result="$((SECONDS - start)) s"
  [ "$status" = 0 ] || result="$result, FAILED"
  phase_names+=("$name")
  phase_results+=("$result")
  if [ "$status" = 0 ]; then
    printf '<== %s: done in %s\n' "$name" "$result"
  else
    printf '<== %s: %s\n' "$name" "$result" >&2
    exit "$status"
  fi
}

# phases_table: from now on, the script ends with a table of its phases, whether it fails or not.
phases_table() {
  trap print_phases EXIT
}
print_phases() {
  local i
  printf '\n'
  for i in "${!phase_names[@]}"; do
    printf '%-62s %s\n' "${phase_names[$i]}" "${phase_results[$i]}"
  done
  printf '%-62s %s\n' total "$SECONDS s"
}
