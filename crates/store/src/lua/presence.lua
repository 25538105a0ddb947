-- Stands before every presence script: the algebra of facts (user, incarnation), and the news of it.

-- A user's first fact is a join. Facts are a set: adding one twice changes nothing.
local function add(users, facts, node, user, joined)
  if redis.call('ZADD', facts, 0, node .. ' ' .. user) == 0 then
    return
  end
  local by = redis.call('HGET', users, user)
  redis.call('HSET', users, user, by and (by .. ' ' .. node) or node)
  if not by then
    joined[#joined + 1] = user
  end
end

-- The last fact gone is a leave.
local function drop(users, facts, node, user, left)
  if redis.call('ZREM', facts, node .. ' ' .. user) == 0 then
    return
  end
  local rest = {}
  for by in string.gmatch(redis.call('HGET', users, user) or '', '%S+') do
    if by ~= node then
      rest[#rest + 1] = by
    end
  end
  if #rest > 0 then
    redis.call('HSET', users, user, table.concat(rest, ' '))
  else
    redis.call('HDEL', users, user)
    left[#left + 1] = user
  end
end

-- All users of an incarnation, at most so many.
local function facts_of(facts, node, limit)
  local found = redis.call('ZRANGEBYLEX', facts, '[' .. node .. ' ', '(' .. node .. '!', 'LIMIT', 0, limit)
  for i, fact in ipairs(found) do
    found[i] = string.sub(fact, #node + 2)
  end
  return found
end

-- Numbers the change and tells the room's channel, where anything changed for the room as a whole: at
-- most so many names a piece, each with the count as of then.
local function tell(users, meta, candidate, channel, most, joined, left)
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
  for first = 1, #lines, most do
    local last = math.min(first + most - 1, #lines)
    local came = math.max(0, math.min(last, #joined) - first + 1)
    count = count + came - (last - first + 1 - came)
    local number = redis.call('HINCRBY', meta, 'v', 1)
    local head = string.format('1 p %s %d %d\n', redis.call('HGET', meta, 'g'), number, count)
    redis.call('SPUBLISH', channel, head .. table.concat(lines, '\n', first, last))
  end
end
