-- The state of a room's presence.
-- KEYS  1 users  2 facts  3 presence meta
-- ARGV  1 most users to list
-- Returns {generation or '', number, count, {user…} or nothing}
local meta = redis.call('HMGET', KEYS[3], 'g', 'v')
local count = redis.call('HLEN', KEYS[1])
local state = { meta[1] or '', tonumber(meta[2] or 0), count }
if count <= tonumber(ARGV[1]) then
  state[4] = redis.call('HKEYS', KEYS[1])
end
return state
