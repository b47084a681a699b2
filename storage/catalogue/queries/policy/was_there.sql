-- Whether there is, or was, such a feature or lane: a row, or none. One that is retired still counts: its old jobs
-- wait.
-- Index: the primary keys.
select true as there from headrace.features f where %(kind)s = 'feature' and f.name = %(name)s
union all select true from headrace.lanes l where %(kind)s = 'lane' and l.name = %(name)s;
