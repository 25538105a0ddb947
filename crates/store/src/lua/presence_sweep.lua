-- Removes some facts of a dead incarnation from a room and publishes the leaves.
-- KEYS  1 users  2 facts  3 presence meta
-- ARGV  1 incarnation  2 candidate generation  3 channel  4 most names in an event  5 most facts to remove
-- Returns how many were removed: fewer than ARGV[5] means that none are left
local found = facts_of(KEYS[2], ARGV[1], tonumber(ARGV[5]))
local left = {}
for _, user in ipairs(found) do
  remove(KEYS[1], KEYS[2], ARGV[1], user, left)
end
if #found < tonumber(ARGV[5]) then
  redis.call('HDEL', KEYS[3], 's:' .. ARGV[1])
end
publish_changes(KEYS[1], KEYS[3], ARGV[2], ARGV[3], tonumber(ARGV[4]), {}, left)
return #found
