-- Which image an id of a message means.
-- KEYS  1 meta of a log or an inbox  2 log or inbox  3 ids
-- ARGV  1 id of an image
-- Returns its hash, or nothing where there is no such message
local reference = redis.call('HGET', KEYS[1], 'g:' .. ARGV[1])
local offset, hash = string.match(reference or '', '^(%d+) (%x+)$')
if not offset or #redis.call('XRANGE', KEYS[2], offset .. '-0', offset .. '-0') == 0 then
  return false
end
return hash
