-- A user's last connection on a node has ended: changes the node's hold to a grace, or removes it.
-- KEYS  1 name
-- ARGV  1 secret's hash, or '' for any owner (of the sweeper)  2 incarnation  3 'grace' | 'gone'
-- Returns 1; 0 where the node did not hold the name; 2 where it holds the name for another secret
local owner_hash = redis.call('HGET', KEYS[1], 'h')
if not owner_hash then
  return 0
end
local field = 'i:' .. ARGV[2]
if ARGV[1] ~= '' and owner_hash ~= ARGV[1] then
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
-- Only `h`, `c` and perhaps `t` are left: no node holds the name.
if redis.call('HLEN', KEYS[1]) <= 2 + redis.call('HEXISTS', KEYS[1], 't') then
  redis.call('DEL', KEYS[1])
end
return removed
