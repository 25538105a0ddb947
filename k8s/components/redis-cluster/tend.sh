# tend.sh FRESH: runs beside the server in each pod, for as long as that does: makes the cluster when there is none, makes
# the nodes known to each other when addresses have changed, and gives a node without slots a primary to
# follow. What it does twice changes nothing the second time.
set -u
nodes=6
primaries=3
ordinal=${POD_NAME##*-}
fresh=$1

cli() { timeout 3 valkey-cli --user internal --pass "$INTERNAL_PASSWORD" --no-auth-warning "$@"; }
name() { echo "${POD_NAME%-*}-$1.redis-nodes"; }
# info FIELD [HOST]: one number of CLUSTER INFO.
info() { cli ${2:+-h "$2"} cluster info | tr -d '\r' | sed -n "s/^$1://p"; }
answers() { cli ${1:+-h "$1"} ping | grep -q PONG; }
others() { seq 0 $((nodes - 1)) | grep -vx "$ordinal"; }

all_answer() { for n in $(others); do answers "$(name "$n")" || return 1; done; }
# Somebody has all slots: the cluster was made long ago, and this node lost its disk.
made() { for n in $(others); do [ "$(info cluster_slots_assigned "$(name "$n")")" = 16384 ] && return 0; done; return 1; }
take_slots() {
  cli cluster addslotsrange $((ordinal * 16384 / primaries)) $(((ordinal + 1) * 16384 / primaries - 1))
}
# Nodes are known by address; a node that is known by its id already is only told its new one.
meet() {
  for n in $(others); do
    ip=$(getent hosts "$(name "$n")" | { read -r ip _ && echo "$ip"; }) && cli cluster meet "$ip" 6379 >/dev/null
  done
}
idle() { cli cluster nodes | grep myself | awk '{ exit !($3 ~ /master/ && $9 == "") }'; }
# The first primary with slots that nobody follows.
lonely() {
  cli cluster nodes | awk '$3 ~ /fail/ { next } $3 ~ /slave/ { followed[$4] = 1 } $3 ~ /master/ && $9 != "" { ids[n++] = $1 }
    END { for (i = 0; i < n; i++) if (!(ids[i] in followed)) { print ids[i]; exit } }'
}

until answers ''; do sleep 1; done
if $fresh; then
  until made || all_answer; do sleep 1; done
  [ "$ordinal" -lt "$primaries" ] && ! made && take_slots
fi
while :; do
  { [ "$(info cluster_state)" = ok ] && [ "$(info cluster_known_nodes)" -ge "$nodes" ]; } || meet
  # One after the other, so that two do not choose the same.
  sleep $((ordinal + 2))
  if [ "$(info cluster_slots_assigned)" = 16384 ] && idle; then
    primary=$(lonely)
    [ -n "$primary" ] && cli cluster replicate "$primary"
  fi
done
