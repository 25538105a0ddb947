-- Claims a name for the owner of a secret.
-- KEYS  1 inbox meta  2 inbox  3 ids  4 name
-- ARGV  1 secret's hash  2 proved: 1, or open: 0  3 incarnation
--       4 'arrive' (a new connection) | 'live' | 'grace' (the node's hold is written again)
--       5 candidate epoch  6 idle ms of the inbox
--       then incarnations whose lease has run out
-- Returns {{incarnation…} that hold it for another owner, none where it is granted, epoch and offset of the newest message
--         in the inbox: offset 0 where it is empty, -1 where it is to be read, because no connection arrived or because
--         the leases of its images are to be renewed}
local name, hash, field = KEYS[4], ARGV[1], 'i:' .. ARGV[3]
local hold = ARGV[4] == 'grace' and 'grace' or 'live'

local function granted()
  redis.call('HSET', name, field, hold)
  if ARGV[4] ~= 'arrive' then
    return { {}, '', -1 }
  end
  -- Most users never get a private message, and have no inbox.
  if redis.call('EXISTS', KEYS[1]) == 0 then
    return { {}, '', 0 }
  end
  local idle = tonumber(ARGV[6])
  if renewal_due(KEYS[1], idle) == 1 then
    return { {}, '', -1 }
  end
  local epoch, offset = current_epoch(KEYS[1], KEYS[2], KEYS[3], ARGV[5], idle)
  keep(KEYS[1], KEYS[2], KEYS[3], idle)
  return { {}, epoch, offset }
end

local owner_hash = redis.call('HGET', name, 'h')
for i = 7, owner_hash and #ARGV or 0 do
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
  return granted()
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
    return { holders, '', -1 }
  end
  redis.call('DEL', name)
  redis.call('HSET', name, 't', 1)
end
redis.call('HSET', name, 'h', hash, 'c', ARGV[2])
return granted()
