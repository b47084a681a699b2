-- When a cap's window will have freed enough room for `need`, nothing else reserved; null when it never will.
create or replace function headrace.room_at(p_tenant uuid, p_scope text, p_key text, p_limit numeric, need numeric,
                                            v_now timestamptz)
returns timestamptz language sql stable
begin atomic
    -- a bucket leaves the window when 25 hours have passed since its start
    select min(w.hour) + interval '25 hours' from (
        select b.hour, sum(b.spent_usd) over (order by b.hour desc) - b.spent_usd as left_when_gone
        from headrace.spend_buckets b
        where b.tenant_id = p_tenant and b.scope = p_scope and b.key = p_key
          and b.hour >= date_trunc('hour', v_now, 'UTC') - interval '24 hours') w
    where w.left_when_gone + need <= p_limit;
end;
