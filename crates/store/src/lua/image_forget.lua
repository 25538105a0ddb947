-- No longer counts an image whose bytes were removed, unless it was admitted again since.
-- KEYS  1 images  2 ends of their leases
-- ARGV  1 hash  2 number of the admission under which the bytes were stored last
-- Returns 1, or 0 where it was admitted again
local counted = redis.call('HGET', KEYS[1], ARGV[1])
local bytes, number = string.match(counted or '', '^(%d+) (%d+)$')
if number ~= ARGV[2] then
  return 0
end
redis.call('HINCRBY', KEYS[1], 'bytes', -tonumber(bytes))
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
