-- Stands before every inbox script, after `epoch.lua`: an inbox has epochs and offsets like a room's log.

-- The epoch of an inbox that no message has ever reached, which has no keys. It names the server, so that a reader
-- notices where another one took over, which may have lost an inbox.
local function epoch_of_none()
  return '-' .. string.sub(current_replid(), 1, 12)
end

-- 1 where the leases of the inbox's images are to be renewed, else 0.
local function renewal_due(meta, idle)
  local renewed = redis.call('HGET', meta, 'g')
  return renewed and milliseconds() - tonumber(renewed) > idle / 6 and 1 or 0
end

-- Postpones the expiry. The meta outlives the messages by as long again: who returns in time learns that some are lost.
local function keep(meta, inbox, ids, idle)
  redis.call('PEXPIRE', meta, 2 * idle)
  redis.call('PEXPIRE', inbox, idle)
  redis.call('PEXPIRE', ids, idle)
end
