-- take(
--   keys=[active, turns, idle, clock, costs, news, other_active, other_news, ...],
--   args=[n, default_charge, least_charge, keep]
-- ) -> [tenant, charge, tenant, charge, ...]
--
-- Start-time fair queueing: takes up to n turns, each time one of the tenant with the lowest start tag. The virtual time
-- moves up to that tag, the tenant is charged what its jobs cost on average, and its next turn starts that much later.
-- There is no acknowledgement: a taken turn is gone.
--
-- Reads everything, decides, then writes, so the number of commands does not grow with n: n turns can touch no tenant
-- beyond the n lowest, since tags only grow while turns are taken.
--
-- KEYS
--   active  sorted set: tenants with turns outstanding -> start tag of the next turn, in work units
--   turns   hash: tenant -> turns outstanding
--   idle    sorted set: tenants without turns -> finish tag of the last one
--   clock   string: the lane's virtual time, in work units; absent means 0
--   costs   hash: tenant -> running average of what its jobs cost, in work units
--   news    list: one entry for each consumer that should look
--   other_active, other_news
--           the same two keys of every other lane
--
-- ARGV
--   n               most turns to take, 1 or more
--   default_charge  charge of a tenant whose jobs' cost is not known yet, in work units
--   least_charge    least charge of a turn, in work units: above 0, or a tenant could stay the lowest for ever
--   keep            how far the virtual time runs past a finish tag before it is forgotten, in work units

-- luacheck: globals ARGV KEYS redis unpack
local active, turns, idle, clock, costs, news = unpack(KEYS)
local n, default_charge = tonumber(ARGV[1]), tonumber(ARGV[2])
local least_charge, keep = tonumber(ARGV[3]), tonumber(ARGV[4])

-- All 17 digits: tostring() would round, and tags have to stay exact.
local function exact(number)
  return string.format("%.17g", number)
end

local lowest = redis.call("ZRANGE", active, 0, n - 1, "WITHSCORES")
if #lowest == 0 then
  redis.call("DEL", news)
  return {}
end

local tenants, tags = {}, {}
for i = 1, #lowest, 2 do
  tenants[#tenants + 1] = lowest[i]
  tags[#tags + 1] = tonumber(lowest[i + 1])
end
local counts = redis.call("HMGET", turns, unpack(tenants))
local averages = redis.call("HMGET", costs, unpack(tenants))
local left, charges, touched = {}, {}, {}
for k = 1, #tenants do
  -- A tenant in active without a count (a key was evicted) has one turn at least.
  left[k] = tonumber(counts[k] or 1)
  charges[k] = math.max(tonumber(averages[k] or default_charge), least_charge)
end

local virtual_time = tonumber(redis.call("GET", clock) or 0)
local taken = {}
for _ = 1, n do
  local first = nil
  for k = 1, #tenants do
    if left[k] > 0 then
      -- The sorted set's own order: by tag, then by name.
      if not first or tags[k] < tags[first] or (tags[k] == tags[first] and tenants[k] < tenants[first]) then
        first = k
      end
    end
  end
  if not first then
    break
  end
  virtual_time = math.max(virtual_time, tags[first])
  tags[first] = tags[first] + charges[first]
  left[first] = left[first] - 1
  touched[first] = true
  taken[#taken + 1] = tenants[first]
  taken[#taken + 1] = exact(charges[first])
end

local staying, remaining, leaving, finished = {}, {}, {}, {}
for k in pairs(touched) do
  local tag = exact(tags[k])
  if left[k] > 0 then
    staying[#staying + 1] = tag
    staying[#staying + 1] = tenants[k]
    remaining[#remaining + 1] = tenants[k]
    remaining[#remaining + 1] = left[k]
  else
    leaving[#leaving + 1] = tenants[k]
    finished[#finished + 1] = tag
    finished[#finished + 1] = tenants[k]
  end
end
if #staying > 0 then
  redis.call("ZADD", active, unpack(staying))
  redis.call("HSET", turns, unpack(remaining))
end
if #leaving > 0 then
  redis.call("ZREM", active, unpack(leaving))
  redis.call("HDEL", turns, unpack(leaving))
  redis.call("ZADD", idle, unpack(finished))
end
redis.call("SET", clock, exact(virtual_time))
redis.call("ZREMRANGEBYSCORE", idle, "-inf", exact(virtual_time - keep))

-- A consumer that leaves turns behind, in any lane, passes the news on: so one offer of many turns wakes one consumer
-- after the other, and a consumer that heard of one lane and took from another leaves no other consumer asleep.
local function pass_on(lane_active, lane_news)
  if redis.call("EXISTS", lane_active) == 1 and redis.call("LLEN", lane_news) == 0 then
    redis.call("RPUSH", lane_news, 1)
  end
end
if redis.call("EXISTS", active) == 0 then
  redis.call("DEL", news)
end
pass_on(active, news)
for i = 7, #KEYS, 2 do
  pass_on(KEYS[i], KEYS[i + 1])
end
return taken
