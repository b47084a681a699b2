-- wake(keys=[wake], args=[kept_s]) -> 1
--
-- Wakes one wire's own consumer, whether it blocks already or is about to.
--
-- KEYS
--   wake  list: an entry for the consumer that blocks on it
--
-- ARGV
--   kept_s  how long an entry waits for a consumer to block, s

-- luacheck: globals ARGV KEYS redis
redis.call("RPUSH", KEYS[1], 1)
return redis.call("EXPIRE", KEYS[1], ARGV[1])
