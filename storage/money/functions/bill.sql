-- Add what was settled (or corrected) to a tenant's day of billing. A day that was exported never changes: then the
-- next one that is open takes it.
create or replace function headrace.bill(
    p_tenant uuid, p_day date, p_calls bigint, p_input bigint, p_output bigint, p_usd numeric)
returns void language plpgsql as $$
begin
    loop
        insert into headrace.billing_daily as b (tenant_id, day, calls, input_tokens, output_tokens, platform_usd)
        values (p_tenant, p_day, p_calls, p_input, p_output, p_usd)
        on conflict (tenant_id, day) do update set
            calls = b.calls + excluded.calls, input_tokens = b.input_tokens + excluded.input_tokens,
            output_tokens = b.output_tokens + excluded.output_tokens,
            platform_usd = b.platform_usd + excluded.platform_usd
            where b.exported_at is null;
        exit when found;
        p_day := p_day + 1;
    end loop;
end $$;
