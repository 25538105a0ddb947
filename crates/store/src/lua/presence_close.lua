-- A node closed a room: removes its sequence number, and the room where nobody uses it.
-- KEYS  1 users  2 facts  3 presence meta  4 log meta  5 log  6 ids
-- ARGV  1 incarnation  2 sequence
-- Returns 1, or 2 where the room was forgotten; 0 where the node has written with a greater sequence (it opened the room
-- again)
local field = 's:' .. ARGV[1]
local last = redis.call('HGET', KEYS[3], field)
if last and tonumber(last) > tonumber(ARGV[2]) then
  return 0
end
redis.call('HDEL', KEYS[3], field)
return forget_if_unused(unpack(KEYS)) and 2 or 1
