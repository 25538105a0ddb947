-- A user's last connection on a node went: into grace, or for good.
-- KEYS  1 name
-- ARGV  1 secret's hash, or '' for whoever holds it (the sweeper's)  2 incarnation  3 'grace' | 'gone'
-- Returns 1; 0 where the node held nothing of it; 2 where it holds the name for another secret
local held = redis.call('HGET', KEYS[1], 'h')
if not held then
  return 0
end
local field = 'i:' .. ARGV[2]
if ARGV[1] ~= '' and held ~= ARGV[1] then
  return redis.call('HEXISTS', KEYS[1], field) * 2
end
if ARGV[3] == 'grace' then
  local held = redis.call('HEXISTS', KEYS[1], field)
  if held == 1 then
    redis.call('HSET', KEYS[1], field, 'grace')
  end
  return held
end
local removed = redis.call('HDEL', KEYS[1], field)
-- What is left are `h` and `c`: nobody.
if redis.call('HLEN', KEYS[1]) <= 2 then
  redis.call('DEL', KEYS[1])
end
return removed
