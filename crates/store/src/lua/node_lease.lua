-- Begins or renews a lease. Also executed by a server that is out of memory: the lease of a running node must not run
-- out.
-- KEYS  1 leases  2 sealed  3 info
-- ARGV  1 'register' | 'renew'  2 incarnation  3 lease ms  4 info (of register)
--       then (of register) earlier incarnations of the node: they are sealed, so that they are swept
-- Returns 1, or 0 where a lease to be renewed ran out or was sealed
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[1], ARGV[2])
if ARGV[1] == 'renew' and (not ends or tonumber(ends) <= now) then
  return 0
end
if ARGV[1] == 'register' then
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[4])
  for i = 5, #ARGV do
    redis.call('ZREM', KEYS[1], ARGV[i])
    redis.call('ZADD', KEYS[2], 'NX', now, ARGV[i])
  end
end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[2])
return 1
