-- Which image an id of a room's message means.
-- KEYS  1 log meta  2 log  3 ids
-- ARGV  1 id of an image
-- Returns its hash, or nothing where the log has no such message
local reference = redis.call('HGET', KEYS[1], 'g:' .. ARGV[1])
local offset, hash = string.match(reference or '', '^(%d+) (%x+)$')
if not offset or #redis.call('XRANGE', KEYS[2], offset .. '-0', offset .. '-0') == 0 then
  return false
end
return hash
