-- What was reserved against what was billed, by model, over the calls that started since a UTC day. Only calls that
-- were billed by their tokens compare the two: a refused call costs nothing, and one of unknown outcome costs its
-- reservation by definition; both are counted apart. The percentiles are ratios of calls that were made, none in
-- between.
-- Index: runs_by_tenant, skipping from tenant to tenant.
with calls as (
    select r.provider, r.model, r.reserved_usd, r.cost_usd, r.over_reserved_usd,
           r.cost_usd / nullif(r.reserved_usd, 0) as ratio,
           r.status = 'unknown' as unknown,
           r.status = 'succeeded' or (r.status = 'failed' and r.cost_usd > 0) as billed
    from headrace.runs r
    where r.created_at >= %(since)s::date::timestamp at time zone 'UTC' and r.status <> 'started'
)
select c.provider, c.model,
       count(*) filter (where c.billed) as calls,
       coalesce(sum(c.reserved_usd) filter (where c.billed), 0) as reserved_usd,
       coalesce(sum(c.cost_usd) filter (where c.billed), 0) as cost_usd,
       round(sum(c.cost_usd) filter (where c.billed) / nullif(sum(c.reserved_usd) filter (where c.billed), 0), 6)
           as ratio,
       round(percentile_disc(0.5) within group (order by c.ratio) filter (where c.billed), 6) as ratio_p50,
       round(percentile_disc(0.95) within group (order by c.ratio) filter (where c.billed), 6) as ratio_p95,
       round(max(c.ratio) filter (where c.billed), 6) as ratio_max,
       count(*) filter (where c.billed and c.over_reserved_usd > 0) as over_calls,
       coalesce(sum(c.over_reserved_usd) filter (where c.billed), 0) as over_reserved_usd,
       count(*) filter (where not c.billed and not c.unknown) as refused_calls,
       count(*) filter (where c.unknown) as unknown_calls,
       coalesce(sum(c.cost_usd) filter (where c.unknown), 0) as unknown_usd
from calls c
group by c.provider, c.model order by c.provider, c.model;
