-- Writes one node's own facts of a room.
-- KEYS  1 users  2 facts  3 presence meta
-- ARGV  1 incarnation  2 sequence  3 candidate generation  4 channel  5 most names a news
--       6 'whole' | 'change'  7 how many are here  then those users, then those gone
-- Returns 1, or 0 where this or a later write was here before
local users, facts, meta = KEYS[1], KEYS[2], KEYS[3]
local node, sequence, here = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[7])
local last = redis.call('HGET', meta, 's:' .. node)
if last and tonumber(last) >= sequence then
  return 0
end
redis.call('HSET', meta, 's:' .. node, sequence)

local joined, left, kept = {}, {}, {}
for i = 8, 7 + here do
  kept[ARGV[i]] = true
  add(users, facts, node, ARGV[i], joined)
end
for i = 8 + here, #ARGV do
  drop(users, facts, node, ARGV[i], left)
end
if ARGV[6] == 'whole' then
  for _, user in ipairs(facts_of(facts, node, -1)) do
    if not kept[user] then
      drop(users, facts, node, user, left)
    end
  end
end
tell(users, meta, ARGV[3], ARGV[4], tonumber(ARGV[5]), joined, left)
return 1
