-- Seals every incarnation whose lease ran out.
-- KEYS  1 leases  2 sealed  3 info
-- ARGV  none
-- Returns {incarnation, ms since it was sealed, …} of all that are sealed and not forgotten
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], node)
  redis.call('ZADD', KEYS[2], 'NX', now, node)
end
local sealed = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for i = 2, #sealed, 2 do
  sealed[i] = now - tonumber(sealed[i])
end
return sealed
