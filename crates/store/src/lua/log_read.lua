-- The head of a log and some of its messages; begins an epoch where the room has none.
-- KEYS  1 log meta  2 log  3 ids
-- ARGV  1 candidate epoch  2 idle ms  3 'newest' | 'after' | 'before'  4 offset (of the latter two)  5 most messages
--       6 most bytes of their bodies, but always one message
-- Returns {epoch, offset, earlier epochs, {entry…}, 1 where bytes ended the list, else 0, 1 where the leases of the room's
--          images are to be renewed, else 0}, entries as XRANGE gives them, oldest first for 'after', newest first otherwise
local epoch, offset, prior = current_epoch(KEYS[1], KEYS[2], KEYS[3], ARGV[1], tonumber(ARGV[2]))
local due, renewed = 0, redis.call('HGET', KEYS[1], 'g')
if renewed and milliseconds() - tonumber(renewed) > tonumber(ARGV[2]) / 6 then
  due = 1
end
local mode, limit, bytes = ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6])
local command, from, to = 'XREVRANGE', '+', '-'
if mode == 'after' then
  command, from, to = 'XRANGE', '(' .. ARGV[4] .. '-0', '+'
elseif mode == 'before' then
  from = '(' .. ARGV[4] .. '-0'
  -- Redis refuses a range that ends before the first id.
  limit = tonumber(ARGV[4]) > 0 and limit or 0
end
local entries = {}
while #entries < limit do
  -- Some at a time, so that bodies beyond the limit are not read.
  local step = math.min(64, limit - #entries)
  local found = redis.call(command, KEYS[2], from, to, 'COUNT', step)
  for _, entry in ipairs(found) do
    bytes = bytes - #(entry[2][10] or '')
    if bytes < 0 and #entries > 0 then
      return { epoch, offset, prior, entries, 1, due }
    end
    entries[#entries + 1] = entry
    from = '(' .. entry[1]
  end
  if #found < step then
    break
  end
end
return { epoch, offset, prior, entries, 0, due }
