-- Figures for the planner (storage/functions/operations/housekeeping.sql).
select headrace.analyze_grown() as analyzed;
