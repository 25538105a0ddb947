-- Removes some facts of a dead incarnation from a room and publishes the leaves; at the end, the room where nobody uses
-- it.
-- KEYS  1 users  2 facts  3 presence meta  4 log meta  5 log  6 ids
-- ARGV  1 incarnation  2 candidate generation  3 channel  4 most names in an event  5 most facts to remove
-- Returns {how many were removed: fewer than ARGV[5] means that none are left, 1 where the room was forgotten, else 0}
local found = facts_of(KEYS[2], ARGV[1], tonumber(ARGV[5]))
local left = {}
for _, user in ipairs(found) do
  remove(KEYS[1], KEYS[2], KEYS[3], ARGV[1], user, left)
end
local last = #found < tonumber(ARGV[5])
if last then
  redis.call('HDEL', KEYS[3], 's:' .. ARGV[1])
end
publish_changes(KEYS[1], KEYS[3], ARGV[2], ARGV[3], tonumber(ARGV[4]), {}, left)
return { #found, last and forget_if_unused(unpack(KEYS)) and 1 or 0 }
