-- Stores one message and publishes it to the room's channel, or recognises that it was stored before.
-- KEYS  1 log meta  2 log  3 ids
-- ARGV  1 candidate epoch  2 idle ms  3 id  4 user  5 body  6 counted: 0 or 1
--       7 kept however old  8 kept this young, ms  9 kept at most  10 channel
--       11 empty, or a blank and the traceparent of the request  12 empty, or 'ID HASH' of the message's image
-- Returns {'stored', epoch, offset, ts, receivers, {'ID HASH'…} of the images of messages that were removed} | {'known', epoch, offset, ts} | {'taken'}
local meta, log, ids = KEYS[1], KEYS[2], KEYS[3]
local idle, len, age, cap = tonumber(ARGV[2]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local id, user, body, counted = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])

local epoch, offset, _, n = current_epoch(meta, log, ids, ARGV[1], idle)
local now = milliseconds()
offset = offset + 1
n = n + counted
-- One call both checks whether the id is new and takes it.
if redis.call('HSETNX', ids, id, string.format('%d %d %s %s', offset, now, epoch, user)) == 0 then
  local known = redis.call('HGET', ids, id)
  local at, ts, e, owner = string.match(known, '^(%d+) (%d+) (%S+) (.*)$')
  if owner ~= user then
    return { 'taken' }
  end
  return { 'known', e, tonumber(at), tonumber(ts) }
end
-- Formatted once: Redis would print each number with 17 digits, which is slow.
local o, c = string.format('%d', offset), string.format('%d', n)
redis.call('HSET', meta, 'o', o, 'n', c)
local time = string.format('%d', now)
if ARGV[12] == '' then
  redis.call('XADD', log, o .. '-0', 'e', epoch, 't', time, 'n', c, 'i', id, 'd', body)
else
  local image, hash = string.match(ARGV[12], '^(%x+) (%x+)$')
  redis.call('XADD', log, o .. '-0', 'e', epoch, 't', time, 'n', c, 'i', id, 'd', body, 'g', ARGV[12])
  redis.call('HSET', meta, 'g:' .. image, o .. ' ' .. hash)
  redis.call('HSETNX', meta, 'g', time)
end

local gone = {}
local length = redis.call('XLEN', log)
if length == 1 or offset % 64 == 0 then
  refresh(meta, log, ids, idle)
end
if length > len then
  -- Two at most, so that trimming keeps up without ever being a burst.
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', math.min(2, length - len))
  local keep
  for _, entry in ipairs(oldest) do
    local fields = entry[2]
    if length <= cap and tonumber(fields[4]) >= now - age then
      break
    end
    redis.call('HDEL', ids, fields[8])
    if fields[11] == 'g' then
      gone[#gone + 1] = fields[12]
      redis.call('HDEL', meta, 'g:' .. string.match(fields[12], '^%x+'))
    end
    keep = tonumber(string.match(entry[1], '^(%d+)')) + 1
    length = length - 1
  end
  if keep then
    redis.call('XTRIM', log, 'MINID', string.format('%d-0', keep))
  end
end

local envelope = string.format('1 m %s %d %d %d%s\n', epoch, offset, now, n, ARGV[11]) .. body
return { 'stored', epoch, offset, now, redis.call('SPUBLISH', ARGV[10], envelope), gone }
