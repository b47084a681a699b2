-- Whether there is such a tenant, feature or lane: a row, or none. One that is retired still counts: its old jobs wait.
-- Index: the primary keys.
select true as there from headrace.tenants t where %(kind)s = 'tenant' and t.id::text = %(key)s
union all select true from headrace.features f where %(kind)s = 'feature' and f.name = %(key)s
union all select true from headrace.lanes l where %(kind)s = 'lane' and l.name = %(key)s;
