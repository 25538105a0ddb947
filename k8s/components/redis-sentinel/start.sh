# The command of each server: follows the primary, or is it.
set -eu
. /etc/roomcast-common/users.sh
. /etc/roomcast/primary.sh
primary=$(primary)
set -- --replica-announce-ip "$me" --masteruser internal --masterauth "$INTERNAL_PASSWORD"
[ "$primary" = "$me" ] || set -- "$@" --replicaof "$primary" 6379
exec valkey-server /etc/roomcast/valkey.conf --aclfile "$RUN/users.acl" "$@"
