-- Lists every node with a lease.
-- KEYS  1 leases  2 sealed  3 info
-- ARGV  none
-- Returns {incarnation, ms until its lease runs out, info or '', …}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local list = {}
local leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  list[#list + 1] = leases[i]
  list[#list + 1] = tonumber(leases[i + 1]) - now
  list[#list + 1] = redis.call('HGET', KEYS[3], leases[i]) or ''
end
return list
