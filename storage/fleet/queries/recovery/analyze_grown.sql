-- Figures for the planner (storage/db/functions/analyze_grown.sql).
select headrace.analyze_grown() as analyzed;
