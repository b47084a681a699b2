-- Bursts: while threads of the fleet are idle, caps that allow it are lent slots beyond their own; once others have
-- work for those threads, the slots go back: free ones at once, taken ones when they are let go. So a claim knows
-- nothing of bursts, and nothing is counted by it. docs/decisions/0017-slots.md.

-- Lend what is idle, shared by weight among those that can use it, and reclaim what others need. p_w: turns of a
-- tenant at most (what the sweep would offer is what is runnable). Returns the turns to offer. One at a time. Whatever
-- is locked just now is left for the next look.
create or replace function headrace.lend_slots(p_silent_s double precision, p_w integer)
returns table (tenant_id uuid, lane text, turns integer) language plpgsql as $$
#variable_conflict use_column
declare
    v_idle integer;
    v_weights numeric;
    v_n integer;
    b record;
begin
    if not exists (select from headrace.concurrency c where c.burst)
       and not exists (select from headrace.slots s where s.lent) then return; end if;
    if not headrace.hold_chore('lend_slots') then return; end if;

    v_idle := (select coalesce(sum(w.threads), 0) from headrace.workers w
               where w.stopped_at is null and w.draining_at is null
                 and w.heartbeat_at >= headrace.now() - make_interval(secs => p_silent_s))
        - (select count(*) from headrace.queue q where q.state = 'running')
        - (select coalesce(sum(t.turns), 0) from headrace.turns_wanted(p_w) t)
        + (select count(*) from headrace.slots s where s.lent and s.retired);  -- these threads are on their way already

    -- nobody waits for them, or others do: the free ones go
    delete from headrace.slots s using (
        select x.cap_key, x.n from headrace.slots x
        left join headrace.bursting(1) b on b.cap_key = x.cap_key
        where x.lent and x.claim_id is null and (v_idle < 0 or b.cap_key is null or b.waiting = 0)
        for update of x skip locked) x
    where s.cap_key = x.cap_key and s.n = x.n;

    if v_idle < 0 then
        update headrace.slots s set retired = true from (
            select x.cap_key, x.n from headrace.slots x join (
                select y.cap_key, y.n, row_number() over (partition by y.cap_key order by y.n) as nth
                from headrace.slots y where y.lent and not y.retired and y.claim_id is not null) y
                on y.cap_key = x.cap_key and y.n = x.n
            order by y.nth desc, x.cap_key limit -v_idle for update of x skip locked) x
        where s.cap_key = x.cap_key and s.n = x.n;
        return;
    end if;

    v_weights := (select sum(b.weight) from headrace.bursting(v_idle) b where b.want > 0);
    for b in select * from headrace.bursting(v_idle) b where b.want > 0 order by b.want / b.weight, b.cap_key loop
        v_n := least(b.want, ceil(v_idle * b.weight / v_weights));
        v_weights := v_weights - b.weight;
        continue when v_n <= 0 or not headrace.try_hold_caps(b.tenant_id);  -- it is being changed
        insert into headrace.slots (cap_key, n, lent)
        select b.cap_key, g.n, true
        from generate_series(0, v_n + (select count(*) from headrace.slots s where s.cap_key = b.cap_key)) g(n)
        where not exists (select from headrace.slots s where s.cap_key = b.cap_key and s.n = g.n)
        order by g.n limit v_n
        on conflict do nothing;
        v_idle := v_idle - v_n;
        return query select b.tenant_id, l.lane, v_n from unnest(b.lanes) l(lane);
    end loop;
end $$;
