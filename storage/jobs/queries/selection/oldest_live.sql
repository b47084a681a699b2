-- The oldest live job, of a tenant or of all. Reads the tenant's live jobs once. Indexes: queue_of_user, the primary
-- key.
select q.id from headrace.queue q
where (%(tenant_id)s::uuid is null or q.tenant_id = %(tenant_id)s)
order by q.id limit 1;
