-- Renews the lease of an image's count.
-- KEYS  1 images  2 ends of their leases
-- ARGV  1 hash  2 lease ms
-- Returns 1
local t = redis.call('TIME')
redis.call('ZADD', KEYS[2], 'XX', t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[2]), ARGV[1])
return 1
