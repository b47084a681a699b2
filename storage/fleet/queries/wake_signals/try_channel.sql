-- Signal a channel of a trial.
select pg_notify(%s, '');
