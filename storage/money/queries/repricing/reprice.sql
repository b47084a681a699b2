-- Price some of a tenant's runs anew (storage/money/functions/reprice.sql).
select * from headrace.reprice(%(tenant_id)s, %(since)s, %(until)s, %(model)s, %(limit)s, %(actor)s, %(reason)s);
