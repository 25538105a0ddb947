-- Counts an image among those of the cluster, unless there are too many bytes of them.
-- KEYS  1 images  2 ends of their leases
-- ARGV  1 hash  2 bytes  3 lease ms  4 most bytes of all
-- Returns the number of this admission, or 0 where there are too many bytes
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for _, hash in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do
  local counted = redis.call('HGET', KEYS[1], hash)
  if counted then
    redis.call('HINCRBY', KEYS[1], 'bytes', -tonumber(string.match(counted, '^%d+')))
    redis.call('HDEL', KEYS[1], hash)
  end
  redis.call('ZREM', KEYS[2], hash)
end
local hash, bytes = ARGV[1], tonumber(ARGV[2])
local known = redis.call('HEXISTS', KEYS[1], hash) == 1
if not known and tonumber(redis.call('HGET', KEYS[1], 'bytes') or 0) + bytes > tonumber(ARGV[4]) then
  return 0
end
if not known then
  redis.call('HINCRBY', KEYS[1], 'bytes', bytes)
end
local number = redis.call('HINCRBY', KEYS[1], 'number', 1)
redis.call('HSET', KEYS[1], hash, string.format('%d %d', bytes, number))
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), hash)
return number
