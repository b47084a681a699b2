-- correct(
--   keys=[active, idle, clock, costs],
--   args=[tenant, delta, observed, least_charge, smoothing, keep, most_owed, most_known]
-- ) -> nothing
--
-- Charges a tenant delta work units more (or fewer) than it has been charged so far, and learns what its jobs cost.
--
-- A refund may take the start tag of a tenant with turns below the virtual time: while it was charged too much, others
-- went ahead, and the refund compensates for that. It does so by at most most_owed of its jobs, so that a tenant cannot
-- save up a head start by asking for jobs that are estimated far too high. The finish tag of a tenant without turns may
-- fall further: it counts only once it passes the virtual time (offer.lua takes the later of the two), and until then it
-- is the base of late corrections. A finish tag that was forgotten had been passed by `keep` at least, so correcting from
-- there charges no tenant for being idle.
--
-- KEYS
--   active  sorted set: tenants with turns outstanding -> start tag of the next turn, in work units
--   idle    sorted set: tenants without turns -> finish tag of the last one
--   clock   string: the lane's virtual time, in work units; absent means 0
--   costs   hash: tenant -> running average of what its jobs cost, in work units
--
-- ARGV
--   tenant        the tenant whose charge is corrected
--   delta         what to add to its tag, in work units; may be negative
--   observed      the whole cost of one of its jobs, in work units; empty: nothing to learn
--   least_charge  least cost that is learned, in work units
--   smoothing     weight of one observation in the running average, 0 to 1
--   keep          how far the virtual time runs past a finish tag before it is forgotten, in work units
--   most_owed     how many of its average jobs a tenant may be owed after a refund
--   most_known    how many tenants' averages are kept: for each that is new beyond it, up to three of tenants that have
--                 neither turns nor a finish tag are forgotten, so the hash cannot grow for ever

-- luacheck: globals ARGV KEYS redis unpack
local active, idle, clock, costs = unpack(KEYS)
local tenant, delta, observed = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local least_charge, smoothing, keep = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local most_owed, most_known = tonumber(ARGV[7]), tonumber(ARGV[8])

if observed then
  local cost = math.max(observed, least_charge)
  local average = tonumber(redis.call("HGET", costs, tenant) or cost)
  local is_new = redis.call("HSET", costs, tenant, string.format("%.17g", average + (cost - average) * smoothing)) == 1
  if is_new and redis.call("HLEN", costs) > most_known then
    for _, other in ipairs(redis.call("HRANDFIELD", costs, 3)) do
      if other ~= tenant and not redis.call("ZSCORE", active, other) and not redis.call("ZSCORE", idle, other) then
        redis.call("HDEL", costs, other)
      end
    end
  end
end

if delta ~= 0 then
  local virtual_time = tonumber(redis.call("GET", clock) or 0)
  local start = redis.call("ZSCORE", active, tenant)
  if start then
    local corrected = tonumber(start) + delta
    if delta < 0 and corrected < virtual_time then
      local owed = most_owed * tonumber(redis.call("HGET", costs, tenant) or 0)
      corrected = math.max(corrected, math.min(tonumber(start), virtual_time - owed))
    end
    redis.call("ZADD", active, string.format("%.17g", corrected), tenant)
  else
    local forgotten = virtual_time - keep
    local finish = tonumber(redis.call("ZSCORE", idle, tenant) or forgotten) + delta
    if finish > forgotten then
      redis.call("ZADD", idle, string.format("%.17g", finish), tenant)
    else
      redis.call("ZREM", idle, tenant)
    end
  end
end
