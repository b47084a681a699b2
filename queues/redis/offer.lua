-- offer(
--   keys=[active, turns, idle, clock, news],
--   args=[most_turns, most_news, aim, tenant, n, tenant, n, ...]
-- ) -> how many turns were added
--
-- Gives turns to each tenant, never beyond the cap: n more, or as many as it lacks of n (then a repeat adds nothing). A
-- tenant that had none starts where it left off or at the virtual time, whichever is later: being away neither saves
-- anything up nor wipes anything out.
--
-- KEYS
--   active  sorted set: tenants with turns outstanding -> start tag of the next turn, in work units
--   turns   hash: tenant -> turns outstanding; a tenant is in it if and only if it is in active
--   idle    sorted set: tenants without turns -> finish tag of the last one
--   clock   string: the lane's virtual time, in work units; absent means the lowest start tag, or 0
--   news    list: one entry for each consumer that should look
--
-- ARGV
--   most_turns  cap on a tenant's outstanding turns
--   most_news   cap on the length of news
--   aim         more: n turns are added; level: the tenant's outstanding turns are raised to n
--   tenant, n   a tenant and the number of turns; as many pairs as there are tenants

-- luacheck: globals ARGV KEYS redis unpack
local active, turns, idle, clock, news = unpack(KEYS)
local most_turns, most_news, aim = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
-- A tenant that is owed something may stand below the clock: whoever comes is not made to wait for that.
local lowest = tonumber(redis.call("ZRANGE", active, 0, 0, "WITHSCORES")[2])
local virtual_time = tonumber(redis.call("GET", clock) or lowest or 0)
local now = math.min(virtual_time, lowest or virtual_time)

local total = 0
for i = 4, #ARGV, 2 do
  local tenant, n = ARGV[i], tonumber(ARGV[i + 1])
  local tag = redis.call("ZSCORE", active, tenant)
  -- What stands in active decides. A count without it is a leftover (a key was evicted), and would otherwise lock the
  -- tenant out.
  local count = tag and tonumber(redis.call("HGET", turns, tenant) or 1) or 0
  local added = math.min(aim == "more" and count + n or n, most_turns) - count
  if added > 0 then
    redis.call("HSET", turns, tenant, count + added)
    if not tag then
      local finish = tonumber(redis.call("ZSCORE", idle, tenant) or now)
      redis.call("ZADD", active, string.format("%.17g", math.max(finish, now)), tenant)
      redis.call("ZREM", idle, tenant)
    end
    total = total + added
  end
end

if total > 0 and redis.call("LLEN", news) < most_news then
  redis.call("RPUSH", news, 1)
end
return total
