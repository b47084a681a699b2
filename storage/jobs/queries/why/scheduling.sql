-- The live schedulers, and for how long the first note of a tenant has waited for one, s; null: it has left none.
-- Indexes: wakes_of_tenant; of schedulers there are few rows.
select (select count(*) from headrace.schedulers s
        where s.stopped_at is null and s.heartbeat_at >= headrace.now() - make_interval(secs => %(silent_s)s))::integer
            as schedulers,
       (select extract(epoch from headrace.now() - n.created_at)::float8 from headrace.wakes n
        where n.tenant_id = %(tenant_id)s order by n.id limit 1) as noted_s;
