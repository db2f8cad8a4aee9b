#!/bin/bash
# Stock kubectl against the API: what a client that isn't ours sees, word for word.
#
#   run.sh TEST_SERVER [KUBECTL...]
#
# Without KUBECTL: the one on PATH (if there is one) and Debian's 1.20 (fetch.sh). Starts TEST_SERVER on a folder
# of its own and ends it. Prints each case; exits 1 if one failed.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
server=$(readlink -f "${1:?the test server}")
shift
kubectls=("$@")
if [[ ${#kubectls[@]} == 0 ]]; then
  on_path=$(command -v kubectl) && kubectls+=("$on_path")
  kubectls+=("$("$here/fetch.sh")") || exit 1
fi

dir=$(mktemp -d /tmp/isla-kubectl-XXXXXX)
mkfifo "$dir/stdin"
# The server ends with its standard input, and this one has no end: it ends with this script, however that does.
"$server" "$dir" $$ <>"$dir/stdin" >"$dir/server.out" 2>&1 &
pid=$!
watchers=()
cleanup() {
  kill "${watchers[@]}" "$pid" 2>/dev/null
  wait 2>/dev/null
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
for _ in $(seq 300); do
  grep -q '^ready' "$dir/server.out" && break
  sleep 0.1
done
grep -q '^ready' "$dir/server.out" || { cat "$dir/server.out"; echo 'the server did not start'; exit 1; }
export KUBECONFIG=$dir/kubeconfig HOME=$dir

failed=0 passed=0
ok() { passed=$((passed + 1)); echo "  ok    $1"; }
bad() {
  failed=$((failed + 1))
  echo "  FAIL  $1"
  printf '        want: %s\n        got:  %s\n' "$2" "$3"
}
# want TITLE CODE TEXT COMMAND...: the exit code, and standard output and error together, must be these.
want() {
  local title=$1 code=$2 text=$3 out got
  shift 3
  out=$(timeout 60 "$@" 2>&1)
  got=$?
  if [[ $got == "$code" && $out == "$text" ]]; then ok "$title"; else bad "$title" "[$code] $text" "[$got] $out"; fi
}
# like TITLE CODE REGEX COMMAND...: the output must match.
like() {
  local title=$1 code=$2 regex=$3 out got
  shift 3
  out=$(timeout 60 "$@" 2>&1)
  got=$?
  if [[ $got == "$code" && $out =~ $regex ]]; then ok "$title"; else bad "$title" "[$code] ~ $regex" "[$got] $out"; fi
}
# watched TITLE FILE REGEX: the file a watch writes must come to match.
watched() {
  for _ in $(seq 150); do
    [[ $(tr -s ' \n' ' ' <"$2") =~ $3 ]] && { ok "$1"; return; }
    sleep 0.1
  done
  bad "$1" "~ $3" "$(cat "$2")"
}
# Watches and logs that the server has open.
streams() { "$kubectl" get --raw /metrics | sed -n 's/^isla_http_streams //p'; }
# more_streams THAN: waits for it.
more_streams() {
  for _ in $(seq 150); do
    [[ $(streams) -gt $1 ]] && return
    sleep 0.1
  done
}
manifest() { # NAME LABELS
  cat >"$dir/$1.json" <<END
{"apiVersion": "isla/v1", "kind": "Session", "metadata": {"name": "$1", "labels": {$2}},
 "spec": {"command": ["/bin/sleep", "100"], "args": [], "resources": {"cpu": "1.0", "memory": "64Mi"}}}
END
}

round=0
for kubectl in "${kubectls[@]}"; do
  round=$((round + 1))
  k() { "$kubectl" "$@"; }
  export kubectl
  version=$("$kubectl" version --client -o json 2>/dev/null | tr -d ' "' | sed -n 's/^gitVersion:\(.*\),$/\1/p' | head -1)
  echo "$kubectl ($version)"
  s=s$round f=$dir/s$round.json

  like 'version' 0 'v1\.32\.0-isla\.1' "$kubectl" version
  like 'api-resources' 0 'projects +proj +isla/v1 +false +Project.*sessions +se,sess +isla/v1 +true +Session' "$kubectl" api-resources
  want 'get of nothing' 0 'No resources found in default namespace.' "$kubectl" get sessions
  like 'get nodes' 0 '^NAME +STATUS.*n1 +Ready' "$kubectl" get nodes
  like 'garbage is shown as invalid' 0 '(^|.)broken +garbage +Invalid' "$kubectl" get sessions -A
  want 'get of what is not there' 1 "Error from server (NotFound): sessions.isla \"$s\" not found" "$kubectl" get session "$s"

  manifest "$s" '"app": "x", "stop-ms": "9999999"'
  "$kubectl" get sessions -w >"$dir/watch-all" 2>&1 & watchers+=($!)
  want 'apply creates' 0 "session.isla/$s created" "$kubectl" apply -f "$f"
  "$kubectl" get session "$s" -w >"$dir/watch-one" 2>&1 & watchers+=($!)
  want 'apply again: unchanged' 0 "session.isla/$s unchanged" "$kubectl" apply -f "$f"
  want 'wait for Ready' 0 "session.isla/$s condition met" "$kubectl" wait --for=condition=Ready --timeout=20s "session/$s"
  want 'apply of a running one: unchanged' 0 "session.isla/$s unchanged" "$kubectl" apply --validate=false -f "$f"
  manifest "$s" '"app": "y", "stop-ms": "9999999"'
  like 'diff' 1 '-    app: x.*\+    app: "?y"?' "$kubectl" diff -f "$f"
  want 'apply after an edit: configured' 0 "session.isla/$s configured" "$kubectl" apply -f "$f"
  want 'the edit is there' 0 y "$kubectl" get session "$s" -o 'jsonpath={.metadata.labels.app}'
  want 'numbers and empty lists as typed' 0 '1.0 []' "$kubectl" get session "$s" -o 'jsonpath={.spec.resources.cpu} {.spec.args}'
  want 'created by the user of the token' 0 isla-admin "$kubectl" get session "$s" -o 'jsonpath={.metadata.createdBy}'
  like 'get -o json' 0 '"kind": "Session".*"phase": "Running"' "$kubectl" get session "$s" -o json
  want 'get -o name' 0 "session.isla/$s" "$kubectl" get se -o name
  like 'get -o wide' 0 "^NAME +PHASE.*$s +Running" "$kubectl" get sessions -o wide
  like 'get -l' 0 "$s +Running" "$kubectl" get sessions -l app=y
  want 'get -l of others' 0 'No resources found in default namespace.' "$kubectl" get sessions -l app=z
  want 'an unknown field selector is refused' 1 1 bash -c '"$kubectl" get sessions --field-selector status.phase=Running >/dev/null 2>&1; echo $?; exit 1'
  like 'describe' 0 "Name: +$s.*Phase: +Running" "$kubectl" describe session "$s"
  want 'label' 0 "session.isla/$s labeled" "$kubectl" label session "$s" team=blue
  want 'annotate' 0 "session.isla/$s annotated" "$kubectl" annotate session "$s" note=1
  like 'a session that runs is frozen or free, never half' 0 'session.isla/'"$s"' patched' \
    "$kubectl" patch session "$s" --type=merge -p '{"spec":{"timeout":"1h"}}'
  like 'a misspelt field' 1 'The Session "'"$s"'" is invalid: spec.comand: Unknown field: did you mean .command.\?' \
    "$kubectl" patch session "$s" --type=merge -p '{"spec":{"comand":["x"]}}'
  like 'strategic merge patch is refused' 1 '(UnsupportedMediaType|strategic-merge-patch\+json is not supported)' "$kubectl" patch session "$s" -p '{"metadata":{}}'
  want 'create of what exists' 1 "Error from server (AlreadyExists): error when creating \"$f\": sessions.isla \"$s\" already exists" \
    "$kubectl" create --validate=false -f "$f"
  like 'create in a missing project' 1 '^Error from server \(Forbidden\).*project .nowhere. does not exist' \
    "$kubectl" create --validate=false -n nowhere -f "$f"
  like 'the default project stays' 1 'Forbidden.*may not be deleted' "$kubectl" delete project default
  want 'raw health' 0 ok "$kubectl" get --raw /readyz

  want 'delete --dry-run=server' 0 "session.isla \"$s\" deleted (server dry run)" "$kubectl" delete session "$s" --dry-run=server
  want 'and it is still there' 0 '' "$kubectl" get session "$s" -o 'jsonpath={.metadata.deletionTimestamp}'
  want 'delete' 0 "session.isla \"$s\" deleted" "$kubectl" delete session "$s" --wait=false
  open=$(streams)
  "$kubectl" wait --for=delete "session/$s" --timeout=60s >"$dir/waited" 2>&1 & waiting=$!
  more_streams "$open" # the wait has begun: only now the session may go
  want 'a session on its way out can be labelled' 0 "session.isla/$s labeled" "$kubectl" label --overwrite session "$s" stop-ms=0
  wait "$waiting"
  want 'wait for the deletion' 0 "session.isla/$s condition met" cat "$dir/waited"
  want 'it is gone' 1 "Error from server (NotFound): sessions.isla \"$s\" not found" "$kubectl" get session "$s"
  # What a watch began with depends on how fast it was; from Running on everybody sees all.
  watched 'get -w saw it run and go' "$dir/watch-all" "NAME PHASE.* $s Running .* $s Terminating "
  watched 'get NAME -w saw it run and go' "$dir/watch-one" "NAME PHASE.* $s Running .* $s Terminating "
  kill "${watchers[@]}" 2>/dev/null
  watchers=()

  manifest "$s-2" '"stop-ms": "200"'
  want 'delete waits for the finalizer' 0 "session.isla/$s-2 created
session.isla \"$s-2\" deleted
gone" bash -c '"$kubectl" apply -f "$1" && "$kubectl" delete session "$2" && ! "$kubectl" get session "$2" 2>/dev/null && echo gone' - "$dir/$s-2.json" "$s-2"
  manifest "$s-3" '"run-ms": "0"'
  want 'a session that ends' 0 "session.isla/$s-3 created
session.isla/$s-3 condition met
Succeeded" bash -c '"$kubectl" apply -f "$1" && "$kubectl" wait --for=condition=Finished --timeout=20s "session/$2" &&
    "$kubectl" get session "$2" -o "jsonpath={.status.phase}"' - "$dir/$s-3.json" "$s-3"
  want 'delete -f' 0 "session.isla \"$s-3\" deleted" "$kubectl" delete -f "$dir/$s-3.json"

  echo '{"apiVersion": "isla/v1", "kind": "Project", "metadata": {"name": "p'$round'"}}' >"$dir/project.json"
  want 'apply a project' 0 "project.isla/p$round created" "$kubectl" apply -f "$dir/project.json"
  manifest "$s-4" '"stop-ms": "100"'
  want 'a session in it' 0 "session.isla/$s-4 created" "$kubectl" apply -n "p$round" -f "$dir/$s-4.json"
  want 'get all' 0 "session.isla/$s-4" "$kubectl" get all -n "p$round" -o name
  want 'delete all of it' 0 "session.isla \"$s-4\" deleted" bash -c '"$kubectl" delete sessions --all -n "$1" | sed "s/ from .* namespace//"' - "p$round"
  want 'delete the project' 0 "project.isla \"p$round\" deleted" "$kubectl" delete project "p$round"
done
echo "$passed passed, $failed failed"
[[ $failed == 0 ]]
