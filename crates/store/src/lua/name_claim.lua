-- Claims names, each for the holder of a secret.
-- KEYS  names
-- ARGV  1 incarnation  then, for each name:
--       secret's hash, chosen by the client: 0 or 1, how many incarnations are known dead, and these
-- Returns for each name the incarnations that hold it; none where it is granted
local node = ARGV[1]

local function claim(name, hash, chosen, dead)
  local held = redis.call('HGET', name, 'h')
  for i = 1, held and #dead or 0 do
    redis.call('HDEL', name, 'i:' .. dead[i])
  end
  if held == hash then
    redis.call('HSET', name, 'i:' .. node, 'live')
    return {}
  end
  if held then
    local guarded = redis.call('HGET', name, 'c') == '1'
    local holders = {}
    local fields = redis.call('HGETALL', name)
    for i = 1, #fields, 2 do
      local holder = string.match(fields[i], '^i:(.*)$')
      -- An owner in grace who chose no secret cannot prove it was them: the name is free.
      if holder and (fields[i + 1] == 'live' or guarded) then
        holders[#holders + 1] = holder
      end
    end
    if #holders > 0 then
      return holders
    end
    redis.call('DEL', name)
  end
  redis.call('HSET', name, 'h', hash, 'c', chosen, 'i:' .. node, 'live')
  return {}
end

local answers, at = {}, 2
for n = 1, #KEYS do
  local hash, chosen, dead = ARGV[at], ARGV[at + 1], {}
  at = at + 3
  for i = 1, tonumber(ARGV[at - 1]) do
    dead[i] = ARGV[at]
    at = at + 1
  end
  answers[n] = claim(KEYS[n], hash, chosen, dead)
end
return answers
