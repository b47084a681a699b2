-- Do the books agree? The runs, the daily rollup and the caps' buckets of some tenants, to the last digit.
select (select coalesce(sum(cost_usd), 0) from headrace.runs where tenant_id = any (%(tenants)s)) as runs_usd,
       (select coalesce(sum(cost_usd), 0) from headrace.spend_daily where tenant_id = any (%(tenants)s)) as rollup_usd,
       (select coalesce(sum(spent_usd), 0) from headrace.spend_buckets
        where tenant_id = any (%(tenants)s) and scope = 'tenant') as ledger_usd,
       (select coalesce(sum(reserved_usd), 0) from headrace.caps
        where tenant_id = any (%(tenants)s) and scope = 'tenant') as still_reserved_usd;
