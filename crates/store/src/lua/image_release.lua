-- A message no longer refers to an image: removes its bytes with the last one.
-- KEYS  1 image  2 ids that refer to it, by the end of their leases
-- ARGV  1 id
-- Returns the number of the admission under which the removed bytes were stored last, or 0 where nothing was removed
local t = redis.call('TIME')
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', t[1] * 1000 + math.floor(t[2] / 1000))
if redis.call('ZCARD', KEYS[2]) > 0 then
  return 0
end
local number = tonumber(redis.call('HGET', KEYS[1], 'n') or 0)
redis.call('DEL', KEYS[1], KEYS[2])
return number
