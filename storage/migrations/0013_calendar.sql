-- ensure_partitions made everything that was missing and returned how much; now it makes one partition and says what came of it.
drop function if exists headrace.ensure_partitions(integer);
