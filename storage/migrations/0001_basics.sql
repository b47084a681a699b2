-- What policies and defaults lean on.

-- The tenant of this transaction; null when none is set. A custom setting that was used once reads back as ''.
create function headrace.current_tenant() returns uuid language sql stable parallel safe
return nullif(current_setting('app.tenant_id', true), '')::uuid;

-- Time in SQL has one source, so that tests can replace it.
create function headrace.now() returns timestamptz language sql volatile
return clock_timestamp();

-- The lowest UUIDv7 of an instant: partitions are ranges of these.
create function headrace.uuid_at(t timestamptz) returns uuid language sql immutable
return (lpad(to_hex((extract(epoch from t) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- The instant inside a UUIDv7.
create function headrace.time_of(id uuid) returns timestamptz language sql immutable
return to_timestamp(('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0);
