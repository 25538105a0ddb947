-- The head of an inbox and some of its messages. Creates nothing: most users never get a private message.
-- KEYS  1 inbox meta  2 inbox  3 ids  4 name of the inbox's owner
-- ARGV  1 candidate epoch  2 idle ms  3 'after' | 'before' | 'newest'  4 offset (of the first two)  5 most messages
--       6 most bytes of their bodies, but always one message  7 '', or only messages with this user
-- Returns {epoch, offset, earlier epochs, {entry…}, 1 where bytes ended the list, else 0, 1 where the leases of the inbox's
--         images are to be renewed, else 0}, entries as XRANGE gives them, oldest first for 'after', newest first otherwise
if redis.call('EXISTS', KEYS[1]) == 0 then
  return { epoch_of_none(), 0, '', {}, 0, 0 }
end
local epoch, offset, prior = current_epoch(KEYS[1], KEYS[2], KEYS[3], ARGV[1], tonumber(ARGV[2]))
keep(KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[2]))
local due = renewal_due(KEYS[1], tonumber(ARGV[2]))
local mode, limit, bytes, with = ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
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
  local found = redis.call(command, KEYS[2], from, to, 'COUNT', 64)
  for _, entry in ipairs(found) do
    from = '(' .. entry[1]
    if #entries < limit and (with == '' or entry[2][8] == with) then
      bytes = bytes - #entry[2][12]
      if bytes < 0 and #entries > 0 then
        return { epoch, offset, prior, entries, 1, due }
      end
      entries[#entries + 1] = entry
    end
  end
  if #found < 64 then
    break
  end
end
return { epoch, offset, prior, entries, 0, due }
