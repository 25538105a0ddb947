# Read by the start.sh of each Redis component: writes who may do what to $RUN/users.acl, a file in memory.
# Whoever can publish on Roomcast's channels can forge its news, so every service has a user of its own.

# All that is ordinary on Roomcast's keys and channels, INFO besides; no CONFIG, KEYS, FLUSHALL, MONITOR.
roomcast='resetkeys resetchannels ~rc1:* &rc1:* +@all -@admin -@dangerous -function +info'

cat >"$RUN/users.acl" <<ACL
user default on nopass resetkeys resetchannels -@all +ping +role
user gateway on >$GATEWAY_PASSWORD $roomcast
user presence on >$PRESENCE_PASSWORD $roomcast
user internal on >$INTERNAL_PASSWORD ~* &* +@all
ACL
