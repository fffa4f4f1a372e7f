-- What determines a job's outcome, as one digest: identical jobs find each other. Older jobs have none.

alter table jobs add column recipe text;
create index jobs_recipe on jobs (owner_id, recipe) where state in ('queued', 'running', 'succeeded');
create index jobs_active on jobs (owner_id) where state in ('queued', 'running');
