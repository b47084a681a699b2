-- A try did not do: why, and when the next one is due. Fenced by the number of the try, so that a late word of an
-- earlier one does no harm. Where nothing was received for sure, the event counts again as it did before the try.
update headrace.outbox
set last_error = %(error)s, next_try_at = headrace.now() + make_interval(secs => %(again_in_s)s),
    unsure_since = case when %(received)s::boolean is null then unsure_since else %(unsure_before)s::timestamptz end
where id = %(id)s and tenant_id = %(tenant_id)s and attempts = %(attempt)s and sent_at is null;
