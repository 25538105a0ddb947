-- Renews the lease of one message on an image.
-- KEYS  1 image  2 ids that refer to it, by the end of their leases
-- ARGV  1 lease ms  2 id
-- Returns 1
local t = redis.call('TIME')
redis.call('ZADD', KEYS[2], 'XX', t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[1]), ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 1
