-- What belongs to the whole deployment: one row, made here and never changed. The key makes users' pseudonyms, by which
-- providers know them (router/pseudonyms.py). Random bits of two UUIDs of version 4: 244, from the server's own
-- generator.
create table headrace.deployment (
    only_one boolean primary key default true check (only_one),
    pseudonym_key bytea not null check (octet_length(pseudonym_key) >= 32)
);
insert into headrace.deployment (pseudonym_key)
values (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
