-- Claims a name for the holder of a secret.
-- KEYS  1 name
-- ARGV  1 secret's hash  2 chosen by the client: 0 or 1  3 incarnation  then incarnations known dead
-- Returns {'granted'} | {'taken', incarnation…}
local held = redis.call('HGET', KEYS[1], 'h')
for i = 4, held and #ARGV or 0 do
  redis.call('HDEL', KEYS[1], 'i:' .. ARGV[i])
end
if held and held ~= ARGV[1] then
  local guarded = redis.call('HGET', KEYS[1], 'c') == '1'
  local holders = {}
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    local node = string.match(fields[i], '^i:(.*)$')
    -- An owner in grace who chose no secret cannot prove it was them: the name is free.
    if node and (fields[i + 1] == 'live' or guarded) then
      holders[#holders + 1] = node
    end
  end
  if #holders > 0 then
    return { 'taken', unpack(holders) }
  end
  redis.call('DEL', KEYS[1])
  held = nil
end
redis.call('HSET', KEYS[1], 'h', ARGV[1], 'i:' .. ARGV[3], 'live')
redis.call('HSETNX', KEYS[1], 'c', ARGV[2])
return { 'granted' }
