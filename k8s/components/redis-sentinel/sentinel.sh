# The command of each sentinel. What it learns it writes into its configuration, which therefore outlives it.
set -eu
. /etc/roomcast/primary.sh
conf=/data/sentinel.conf
if [ ! -s $conf ]; then
  primary=$(primary)
  cat >$conf <<CONF
port 26379
dir /data
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $me
sentinel announce-port 26379
sentinel monitor roomcast $primary 6379 2
sentinel down-after-milliseconds roomcast 5000
sentinel failover-timeout roomcast 15000
sentinel parallel-syncs roomcast 1
sentinel auth-user roomcast internal
CONF
fi
# Passwords as they are now.
sed -i -e '/^requirepass /d' -e '/^sentinel auth-pass /d' $conf
printf 'requirepass %s\nsentinel auth-pass roomcast %s\n' "$INTERNAL_PASSWORD" "$INTERNAL_PASSWORD" >>$conf
# A sentinel does not start while the name of the primary leads nowhere.
host=$(sed -n 's/^sentinel monitor roomcast \([^ ]*\) .*/\1/p' $conf)
until getent hosts "$host" >/dev/null; do sleep 1; done
exec valkey-server $conf --sentinel
