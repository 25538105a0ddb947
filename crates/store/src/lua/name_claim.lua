-- Claims a name for the owner of a secret.
-- KEYS  1 name
-- ARGV  1 secret's hash  2 proved: 1, or open: 0  3 incarnation
--       4 'arrive' (a new connection) | 'live' | 'grace' (the node's hold is written again)
--       then incarnations whose lease has run out
-- Returns the incarnations that hold it for another owner; none where it is granted
local name, hash, field = KEYS[1], ARGV[1], 'i:' .. ARGV[3]
local hold = ARGV[4] == 'grace' and 'grace' or 'live'
local owner_hash = redis.call('HGET', name, 'h')
for i = 5, owner_hash and #ARGV or 0 do
  redis.call('HDEL', name, 'i:' .. ARGV[i])
end
if owner_hash == hash then
  if ARGV[4] == 'arrive' then
    -- The connection is the return of one that dropped on another node: ends the grace there.
    local fields = redis.call('HGETALL', name)
    for i = 1, #fields, 2 do
      if fields[i + 1] == 'grace' and fields[i] ~= field and string.sub(fields[i], 1, 2) == 'i:' then
        redis.call('HDEL', name, fields[i])
        break
      end
    end
  end
  redis.call('HSET', name, field, hold)
  return {}
end
if owner_hash then
  local proved = redis.call('HGET', name, 'c') == '1'
  local holders = {}
  local fields = redis.call('HGETALL', name)
  for i = 1, #fields, 2 do
    local holder = string.match(fields[i], '^i:(.*)$')
    -- An open name is nobody's once its connection is gone: in grace it is free.
    if holder and (fields[i + 1] == 'live' or proved) then
      holders[#holders + 1] = holder
    end
  end
  if #holders > 0 then
    return holders
  end
  redis.call('DEL', name)
  redis.call('HSET', name, 't', 1)
end
redis.call('HSET', name, 'h', hash, 'c', ARGV[2], field, hold)
return {}
