# The command of the Redis pod.
set -eu
. /etc/roomcast-common/users.sh
exec valkey-server /etc/roomcast/valkey.conf --aclfile "$RUN/users.acl"
