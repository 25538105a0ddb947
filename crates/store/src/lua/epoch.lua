-- Stands before every log script. A log's epoch begins where there is no meta, and again where this
-- server is not the one that wrote the meta last (after an asynchronous failover offsets could be
-- reused: replicas may lag). Offsets continue; the greatest offset that survived of the earlier epoch is
-- kept in `p`.

-- Names this server as the one that took the writes so far: another one has another name.
local function current_replid()
  local info = redis.call('INFO', 'replication')
  -- Of 40 digits, found without a pattern: this runs for every message.
  local _, before = string.find(info, 'master_replid:', 1, true)
  return string.sub(info, before + 1, before + 40)
end

-- meta, log, ids: keys; candidate: a name for a new epoch; idle: ms. Returns epoch, offset, earlier epochs,
-- messages counted.
local function current_epoch(meta, log, ids, candidate, idle)
  local replid = current_replid()
  local m = redis.call('HMGET', meta, 'e', 'o', 'p', 'r', 'n')
  if not m[1] then
    redis.call('DEL', log, ids)
    redis.call('HSET', meta, 'e', candidate, 'o', 0, 'n', 0, 'p', '', 'r', replid)
    redis.call('PEXPIRE', meta, idle + 86400000)
    return candidate, 0, '', 0
  end
  if m[4] ~= replid then
    local prior = m[1] .. ':' .. m[2]
    local kept = 1
    for earlier in string.gmatch(m[3], '%S+') do
      if kept < 8 then
        prior = prior .. ' ' .. earlier
        kept = kept + 1
      end
    end
    redis.call('HSET', meta, 'e', candidate, 'p', prior, 'r', replid)
    return candidate, tonumber(m[2]), prior, tonumber(m[5])
  end
  return m[1], tonumber(m[2]), m[3], tonumber(m[5])
end

local function milliseconds()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function refresh(meta, log, ids, idle)
  redis.call('PEXPIRE', meta, idle + 86400000)
  redis.call('PEXPIRE', log, idle)
  redis.call('PEXPIRE', ids, idle)
end
