-- The images to which the messages of a room or an inbox refer. Forgets those of messages that are not there any more: they
-- expired, or a node of an older release removed them.
-- KEYS  1 meta of a log or an inbox  2 log or inbox  3 ids
-- Returns {{'ID HASH'…} of messages that are there, {'ID HASH'…} of the others}
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
local first = oldest and tonumber(string.match(oldest[1], '^(%d+)'))
local meta = redis.call('HGETALL', KEYS[1])
local kept, gone = {}, {}
for i = 1, #meta, 2 do
  local id = string.match(meta[i], '^g:(.+)$')
  local offset, hash = string.match(meta[i + 1], '^(%d+) (%x+)$')
  if id and offset then
    if first and tonumber(offset) >= first then
      kept[#kept + 1] = id .. ' ' .. hash
    else
      redis.call('HDEL', KEYS[1], meta[i])
      gone[#gone + 1] = id .. ' ' .. hash
    end
  end
end
return { kept, gone }
