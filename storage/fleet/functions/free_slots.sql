-- A claim lets go of its slots, and whoever comes next is let in with the same commit. Returns the turns to offer after
-- it: [{"tenant_id", "lane"}, …]. Called twice, the second time does nothing. The last thing that a transaction does
-- for a claim: it may wait for another one that lets go of a retired slot. Index: slots_by_claim.
-- p_models_only: the claim goes on, its call is over.
create or replace function headrace.free_slots(p_tenant uuid, p_claim uuid, p_models_only boolean default false)
returns jsonb language plpgsql as $$
declare
    s headrace.slots;
    v_gone boolean;
    v_n integer;
    v_what text[];
    v_lane text;
    v_offer jsonb;
    v_offers jsonb := '[]';
begin
    for s in select * from headrace.slots x
             where x.claim_id = p_claim and x.of_tenant = p_tenant and (not p_models_only or x.cap_key like 'model:%')
             order by x.cap_key for update loop
        v_gone := s.retired;
        -- while more run than the cap allows, what is let go goes, and another that is taken counts in its place
        while not v_gone and exists (select from headrace.slots x where x.cap_key = s.cap_key and x.retired) loop
            select x.n into v_n from headrace.slots x where x.cap_key = s.cap_key and x.retired order by x.n limit 1
            for update;
            v_gone := found;  -- else its own claim has just let it go
            update headrace.slots x set retired = false, lent = s.lent
                where v_gone and x.cap_key = s.cap_key and x.n = v_n;
        end loop;
        if v_gone then
            delete from headrace.slots x where x.cap_key = s.cap_key and x.n = s.n;
            continue;
        end if;
        update headrace.slots x set claim_id = null, of_tenant = null where x.cap_key = s.cap_key and x.n = s.n;
        if s.cap_key like 'model:%' then
            v_offers := v_offers || headrace.release_for_model(s.cap_key);
            continue;
        end if;
        v_what := regexp_match(s.cap_key, '^tenant:[^:]*:(lane|feature):(.*)$');
        if v_what[1] = 'lane' then
            v_lane := (select x.lane from headrace.queue x
                where x.tenant_id = p_tenant and x.lane = v_what[2] and x.state = 'queued'
                       order by x.rank, x.id limit 1);
        else  -- of its lanes the one with the most weight: a seek each
            v_lane := (select l.name from headrace.lanes l cross join lateral (
                           select from headrace.queue x
                           where x.tenant_id = p_tenant and x.lane = l.name
                             and x.feature between v_what[2] and v_what[2] and x.state = 'queued'
                             order by x.feature, x.rank, x.id limit 1) x
                       where l.paused_at is null
                       and not exists (select from headrace.features f
                           where f.name = v_what[2] and f.paused_at is not null)
                       order by l.weight desc, l.name limit 1);
        end if;
        v_offer := jsonb_build_array(jsonb_build_object('tenant_id', p_tenant, 'lane', v_lane));
        if v_lane is not null and not v_offers @> v_offer then  -- both of a job's slots let one job in
            v_offers := v_offers || v_offer;
        end if;
    end loop;
    return v_offers;
end $$;
