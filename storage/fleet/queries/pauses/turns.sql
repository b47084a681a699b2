-- What the wire should hold of what was resumed, as the sweep reckons it (storage/fleet/functions/turns_wanted.sql),
-- but without its lock: a sweep that looked just before the resume must not keep these turns from being offered.
select tenant_id, lane, turns from headrace.turns_wanted(%(turns_per_tenant)s)
where (%(kind)s <> 'tenant' or tenant_id::text = %(key)s) and (%(kind)s <> 'lane' or lane = %(key)s);
