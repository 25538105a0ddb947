-- Keeps the bytes of an image for one more message.
-- KEYS  1 image  2 ids that refer to it, by the end of their leases
-- ARGV  1 bytes  2 type  3 id  4 lease ms  5 number of the admission
-- Returns 1
local t = redis.call('TIME')
if redis.call('HEXISTS', KEYS[1], 'b') == 0 then
  redis.call('HSET', KEYS[1], 'b', ARGV[1], 't', ARGV[2])
end
if tonumber(redis.call('HGET', KEYS[1], 'n') or 0) < tonumber(ARGV[5]) then
  redis.call('HSET', KEYS[1], 'n', ARGV[5])
end
redis.call('ZADD', KEYS[2], t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[4]), ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
