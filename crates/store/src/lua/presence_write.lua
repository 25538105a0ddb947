-- Writes one node's own facts of a room.
-- KEYS  1 users  2 facts  3 presence meta
-- ARGV  1 incarnation  2 sequence  3 candidate generation  4 channel  5 most names in an event
--       6 'whole' | 'first' | 'continues'  7 how many are here  8 how many are gone  9 how many arrived
--       10 how many of these have an open name
--       then users: here, gone, arrived, and open, each of these with its dialect; then earlier incarnations of the node
-- Returns 1, or 0 where nothing was done: this or a later write was executed before, or the write continues others that
-- this server does not have (it lost its data)
local users, facts, meta = KEYS[1], KEYS[2], KEYS[3]
local node, sequence = ARGV[1], tonumber(ARGV[2])
local last = redis.call('HGET', meta, 's:' .. node)
if last and tonumber(last) >= sequence or not last and ARGV[6] == 'continues' then
  return 0
end
redis.call('HSET', meta, 's:' .. node, sequence)

local at = 10
local function next_argument()
  at = at + 1
  return ARGV[at]
end
local function next_users(length)
  local list = {}
  for i = 1, tonumber(length) do
    list[i] = next_argument()
  end
  return list
end
local here, gone, arrived = next_users(ARGV[7]), next_users(ARGV[8]), next_users(ARGV[9])
local dialects = {}
for _ = 1, tonumber(ARGV[10]) do
  local user = next_argument()
  dialects[user] = next_argument()
end

-- Who arrives under a name that the room has is the person who had it, unless the kind of the name says otherwise.
local returned, replaced = {}, {}
for _, user in ipairs(arrived) do
  local nodes, dialect = redis.call('HGET', users, user), dialects[user]
  if nodes and (redis.call('HGET', meta, 'o:' .. user) or nil) ~= dialect then
    replaced[#replaced + 1] = user
    if dialect then
      redis.call('HSET', meta, 'o:' .. user, dialect)
    else
      redis.call('HDEL', meta, 'o:' .. user)
    end
  elseif nodes and nodes ~= node then
    returned[#returned + 1] = user
  end
end
local joined, left, kept = {}, {}, {}
for _, user in ipairs(here) do
  kept[user] = true
  add(users, facts, node, user, joined)
end
for _, user in ipairs(joined) do
  if dialects[user] then
    redis.call('HSET', meta, 'o:' .. user, dialects[user])
  end
end
for _, user in ipairs(gone) do
  remove(users, facts, meta, node, user, left)
end
if ARGV[6] == 'whole' then
  for _, user in ipairs(facts_of(facts, node, -1)) do
    if not kept[user] then
      remove(users, facts, meta, node, user, left)
    end
  end
end
-- After the new facts, so that no leave is published for users who are still here.
while at < #ARGV do
  local former = next_argument()
  for _, user in ipairs(facts_of(facts, former, -1)) do
    remove(users, facts, meta, former, user, left)
  end
  redis.call('HDEL', meta, 's:' .. former)
end
local most = tonumber(ARGV[5])
publish_changes(users, meta, ARGV[3], ARGV[4], most, joined, left)
for _, news in ipairs({ { 'r', returned }, { 'x', replaced } }) do
  local kind, list = news[1], news[2]
  for first = 1, #list, most do
    local chunk = table.concat(list, '\n', first, math.min(first + most - 1, #list))
    redis.call('SPUBLISH', ARGV[4], '1 ' .. kind .. ' ' .. node .. '\n' .. chunk)
  end
end
return 1
