-- Stands before the scripts that close a room for a node.

-- Removes all keys of a room in which there is no user, which no node has open, and whose log never had a message.
-- Returns whether it did.
local function forget_if_unused(users, facts, presence, meta, log, ids)
  if redis.call('EXISTS', users) == 1 or tonumber(redis.call('HGET', meta, 'o') or 0) > 0 then
    return false
  end
  for _, field in ipairs(redis.call('HKEYS', presence)) do
    if string.sub(field, 1, 2) == 's:' then
      return false
    end
  end
  redis.call('DEL', facts, presence, meta, log, ids)
  return true
end
