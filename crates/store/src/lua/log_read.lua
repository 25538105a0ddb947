-- The head of a log and some of its messages; begins an epoch where the room has none.
-- KEYS  1 log meta  2 log  3 ids
-- ARGV  1 candidate epoch  2 idle ms  3 'newest' | 'after' | 'before'  4 offset (of the latter two)  5 limit
-- Returns {epoch, offset, earlier epochs, {entry…}}, entries as XRANGE gives them, oldest first for
--         'after', newest first otherwise
local epoch, offset, prior = current_epoch(KEYS[1], KEYS[2], KEYS[3], ARGV[1], tonumber(ARGV[2]))
local limit = tonumber(ARGV[5])
local entries = {}
if limit > 0 and ARGV[3] == 'newest' then
  entries = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', limit)
elseif limit > 0 and ARGV[3] == 'after' then
  entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[4] .. '-0', '+', 'COUNT', limit)
elseif limit > 0 and ARGV[3] == 'before' and tonumber(ARGV[4]) > 0 then
  entries = redis.call('XREVRANGE', KEYS[2], '(' .. ARGV[4] .. '-0', '-', 'COUNT', limit)
end
return { epoch, offset, prior, entries }
