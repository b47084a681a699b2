-- The key of users' pseudonyms. One row.
select d.pseudonym_key from headrace.deployment d;
