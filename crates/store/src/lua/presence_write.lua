-- Writes one node's own facts of a room.
-- KEYS  1 users  2 facts  3 presence meta
-- ARGV  1 incarnation  2 sequence  3 candidate generation  4 channel  5 most names in an event
--       6 'whole' | 'first' | 'continues'  7 how many are here  8 how many are gone  9 how many arrived
--       then users: here, gone, arrived; then earlier incarnations of the node
-- Returns 1, or 0 where nothing was done: this or a later write was executed before, or the write continues others that
-- this server does not have (it lost its data)
local users, facts, meta = KEYS[1], KEYS[2], KEYS[3]
local node, sequence = ARGV[1], tonumber(ARGV[2])
local last = redis.call('HGET', meta, 's:' .. node)
if last and tonumber(last) >= sequence or not last and ARGV[6] == 'continues' then
  return 0
end
redis.call('HSET', meta, 's:' .. node, sequence)

local at = 9
local function next_argument()
  at = at + 1
  return ARGV[at]
end
local joined, left, kept, returned = {}, {}, {}, {}
for _ = 1, tonumber(ARGV[7]) do
  local user = next_argument()
  kept[user] = true
  add(users, facts, node, user, joined)
end
for _ = 1, tonumber(ARGV[8]) do
  remove(users, facts, node, next_argument(), left)
end
for _ = 1, tonumber(ARGV[9]) do
  local user = next_argument()
  if (redis.call('HGET', users, user) or node) ~= node then
    returned[#returned + 1] = user
  end
end
if ARGV[6] == 'whole' then
  for _, user in ipairs(facts_of(facts, node, -1)) do
    if not kept[user] then
      remove(users, facts, node, user, left)
    end
  end
end
-- After the new facts, so that no leave is published for users who are still here.
while at < #ARGV do
  local former = next_argument()
  for _, user in ipairs(facts_of(facts, former, -1)) do
    remove(users, facts, former, user, left)
  end
  redis.call('HDEL', meta, 's:' .. former)
end
publish_changes(users, meta, ARGV[3], ARGV[4], tonumber(ARGV[5]), joined, left)
for first = 1, #returned, tonumber(ARGV[5]) do
  local last = math.min(first + tonumber(ARGV[5]) - 1, #returned)
  redis.call('SPUBLISH', ARGV[4], '1 r ' .. node .. '\n' .. table.concat(returned, '\n', first, last))
end
return 1
