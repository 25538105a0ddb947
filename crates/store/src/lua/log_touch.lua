-- Postpones the expiry of a room in use.
-- KEYS  1 log meta  2 log  3 ids
-- ARGV  1 idle ms
-- Returns 1
refresh(KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1]))
return 1
