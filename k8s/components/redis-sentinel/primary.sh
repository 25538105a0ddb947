# Read by start.sh and sentinel.sh: names of the pods, and who is the primary now.
me=$POD_NAME.redis-nodes
pods="${POD_NAME%-*}-0 ${POD_NAME%-*}-1 ${POD_NAME%-*}-2"

# The other sentinels know best; alone, what this pod's own last knew; in the beginning, the first pod.
primary() {
  for pod in $pods; do
    [ "$pod" = "$POD_NAME" ] && continue
    host=$(timeout 3 valkey-cli -h "$pod.redis-nodes" -p 26379 --pass "$INTERNAL_PASSWORD" --no-auth-warning \
      sentinel get-master-addr-by-name roomcast 2>/dev/null | head -n 1)
    case $host in *.redis-nodes) echo "$host"; return ;; esac
  done
  host=$(sed -n 's/^sentinel monitor roomcast \([^ ]*\) .*/\1/p' /data/sentinel.conf 2>/dev/null || true)
  echo "${host:-${POD_NAME%-*}-0.redis-nodes}"
}
