-- Figures for the planner (storage/db/functions/housekeeping.sql).
select headrace.analyze_grown() as analyzed;
