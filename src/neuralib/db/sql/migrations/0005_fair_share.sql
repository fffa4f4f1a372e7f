-- Owners take turns: the claim walks the owners of one model and priority, and each owner's jobs by age. What had its
-- turn before (rescued, retried, given back) is found without them.

drop index jobs_claim;
create index jobs_claim on jobs (model, priority desc, owner_id, queued_at, id) where state = 'queued';
create index jobs_again on jobs (model, priority desc, queued_at, id) where state = 'queued' and attempt > 0;
