-- The leases of all images of a room or an inbox have been renewed.
-- KEYS  1 meta of a log or an inbox  2 log or inbox  3 ids
-- Returns 1
if redis.call('HEXISTS', KEYS[1], 'g') == 1 then
  redis.call('HSET', KEYS[1], 'g', string.format('%d', milliseconds()))
end
return 1
