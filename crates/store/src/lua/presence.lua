-- Prepended to every presence script: adds and removes facts (user, incarnation), and publishes the changes.

-- A user's first fact is a join. Facts are a set: adding one twice changes nothing.
local function add(users, facts, node, user, joined)
  if redis.call('ZADD', facts, 0, node .. ' ' .. user) == 0 then
    return
  end
  local nodes = redis.call('HGET', users, user)
  redis.call('HSET', users, user, nodes and (nodes .. ' ' .. node) or node)
  if not nodes then
    joined[#joined + 1] = user
  end
end

-- The removal of the last fact is a leave.
local function remove(users, facts, meta, node, user, left)
  if redis.call('ZREM', facts, node .. ' ' .. user) == 0 then
    return
  end
  local rest = {}
  for other in string.gmatch(redis.call('HGET', users, user) or '', '%S+') do
    if other ~= node then
      rest[#rest + 1] = other
    end
  end
  if #rest > 0 then
    redis.call('HSET', users, user, table.concat(rest, ' '))
  else
    redis.call('HDEL', users, user)
    redis.call('HDEL', meta, 'o:' .. user)
    left[#left + 1] = user
  end
end

-- Users of an incarnation's facts, at most `limit`.
local function facts_of(facts, node, limit)
  local found = redis.call('ZRANGEBYLEX', facts, '[' .. node .. ' ', '(' .. node .. '!', 'LIMIT', 0, limit)
  for i, fact in ipairs(found) do
    found[i] = string.sub(fact, #node + 2)
  end
  return found
end

-- Publishes the changes of the whole room, if any, in chunks of at most `max_names` names, each with the next number and
-- with the count after it. Keeps the numbering of an empty room for a day.
local function publish_changes(users, meta, candidate, channel, max_names, joined, left)
  local count = redis.call('HLEN', users)
  if #joined + #left > 0 then
    redis.call('HSETNX', meta, 'g', candidate)
  end
  if count == 0 then
    redis.call('PEXPIRE', meta, 86400000)
  else
    redis.call('PERSIST', meta)
  end
  local lines = {}
  for _, user in ipairs(joined) do
    lines[#lines + 1] = '+' .. user
  end
  for _, user in ipairs(left) do
    lines[#lines + 1] = '-' .. user
  end
  count = count - #joined + #left
  for first = 1, #lines, max_names do
    local last = math.min(first + max_names - 1, #lines)
    local joins = math.max(0, math.min(last, #joined) - first + 1)
    count = count + joins - (last - first + 1 - joins)
    local number = redis.call('HINCRBY', meta, 'v', 1)
    local head = string.format('1 p %s %d %d\n', redis.call('HGET', meta, 'g'), number, count)
    redis.call('SPUBLISH', channel, head .. table.concat(lines, '\n', first, last))
  end
end
