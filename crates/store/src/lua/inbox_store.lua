-- Stores a private message in the inbox of one of the two users, or recognises that it was stored before.
-- KEYS  1 inbox meta  2 inbox  3 ids  4 name of the inbox's owner
-- ARGV  1 candidate epoch  2 idle ms  3 sender, line feed, id  4 other user  5 hash of the other user's secret, or ''
--         where that user is offline  6 'out' (the owner sent it) | 'in'  7 body  8 kept at most
--       9 hash of the owner's secret  10 when it was stored in the other inbox, or ''
--       11 '', or 'ID HASH' of the message's image
-- Returns {'stored' | 'known', epoch, offset, ts, hash of the other user's secret, body and image that were stored before,
--         or '', 1 where the leases of the inbox's images are to be renewed, else 0, {'ID HASH'…} of the images of messages
--         that were removed, incarnation…}, the incarnations being those where the owner is connected
--         | {'taken'} | {'offline'}
local meta, inbox, ids, name = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local idle, key, other, others_secret = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]

local function with_nodes(answer)
  if redis.call('HGET', name, 'h') == ARGV[9] then
    local fields = redis.call('HGETALL', name)
    for i = 1, #fields, 2 do
      local node = string.match(fields[i], '^i:(.*)$')
      if node and fields[i + 1] == 'live' then
        answer[#answer + 1] = node
      end
    end
  end
  return answer
end

local exists = redis.call('EXISTS', meta) == 1
local known = exists and redis.call('HGET', ids, key)
if known then
  local at, ts, e, secret, to = string.match(known, '^(%d+) (%d+) (%S+) (%S+) (.*)$')
  if to ~= other then
    return { 'taken' }
  end
  local entry = redis.call('XRANGE', inbox, at .. '-0', at .. '-0')[1]
  local fields = entry and entry[2] or {}
  return with_nodes({ 'known', e, tonumber(at), tonumber(ts), secret, fields[12] or '', fields[14] or '', 0, {} })
end
if others_secret == '' then
  return { 'offline' }
end

local epoch, offset = current_epoch(meta, inbox, ids, ARGV[1], idle)
if not exists then
  -- A reader of the empty inbox has missed nothing.
  redis.call('HSET', meta, 'p', epoch_of_none() .. ':0')
end
offset = offset + 1
local o = string.format('%d', offset)
local ts = ARGV[10] ~= '' and ARGV[10] or string.format('%d', milliseconds())
redis.call('HSET', meta, 'o', o)
redis.call('HSET', ids, key, string.format('%s %s %s %s %s', o, ts, epoch, others_secret, other))
if ARGV[11] == '' then
  redis.call('XADD', inbox, o .. '-0', 'e', epoch, 't', ts, 'i', key, 'w', other, 's', ARGV[6], 'd', ARGV[7])
else
  local image, hash = string.match(ARGV[11], '^(%x+) (%x+)$')
  redis.call('XADD', inbox, o .. '-0', 'e', epoch, 't', ts, 'i', key, 'w', other, 's', ARGV[6], 'd', ARGV[7], 'g', ARGV[11])
  redis.call('HSET', meta, 'g:' .. image, o .. ' ' .. hash)
  redis.call('HSETNX', meta, 'g', string.format('%d', milliseconds()))
end
local gone = {}
local excess = redis.call('XLEN', inbox) - tonumber(ARGV[8])
if excess > 0 then
  -- Two at most, as in a room's log.
  local oldest = redis.call('XRANGE', inbox, '-', '+', 'COUNT', math.min(2, excess))
  for _, entry in ipairs(oldest) do
    redis.call('HDEL', ids, entry[2][6])
    if entry[2][13] == 'g' then
      gone[#gone + 1] = entry[2][14]
      redis.call('HDEL', meta, 'g:' .. string.match(entry[2][14], '^%x+'))
    end
    redis.call('XDEL', inbox, entry[1])
  end
end
keep(meta, inbox, ids, idle)
return with_nodes({ 'stored', epoch, offset, tonumber(ts), others_secret, '', '', renewal_due(meta, idle), gone })
