# The command of each pod of the cluster: the server, and tend.sh beside it.
set -eu
. /etc/roomcast-common/users.sh
# Asked before the server writes it.
[ -s /data/nodes.conf ] && fresh=false || fresh=true
sh /etc/roomcast/tend.sh $fresh &
exec valkey-server /etc/roomcast/valkey.conf --aclfile "$RUN/users.acl" \
  --cluster-announce-ip "$POD_IP" --masteruser internal --masterauth "$INTERNAL_PASSWORD"
