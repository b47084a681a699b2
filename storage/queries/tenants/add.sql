-- A new tenant.
insert into headrace.tenants (id, external_id, name, plan, daily_cost_cap_usd) values (%s, %s, %s, %s, %s);
