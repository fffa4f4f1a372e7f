-- name: insert_job
insert into jobs (id, owner_id, operation, model, checkpoint, params, output, asset_id, library_id, priority,
                  max_attempts, timeout_s, metadata, recipe, retry_of)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
returning *

-- name: get_job
select * from jobs where owner_id = $1 and id = $2

-- name: lock_job
select * from jobs where owner_id = $1 and id = $2 for update

-- name: find_same_job
-- The newest job that makes or has made the same things in the same place. A finished one counts while everything
-- that it made is there, with its bytes.
select * from jobs j
where owner_id = $1 and recipe = $2 and asset_id = $3 and library_id = $4
  and state in ('queued', 'running', 'succeeded') and (state = 'succeeded' or not cancel_requested)
  and (state <> 'succeeded'
       or (result ->> 'outputs')::int = (
           select count(*) from assets a join blobs b on b.id = a.blob_id
           where a.job_id = j.id and a.trashed_at is null and b.key not like 'evicted/%'
       ))
order by id desc
limit 1

-- name: list_jobs
select * from jobs
where owner_id = $1
  and ($2::text[] is null or state = any($2))
  and ($3::text is null or operation = $3)
  and ($4::uuid is null or id = any(array(select job_id from job_inputs where asset_id = $4)))
  and ($5::uuid[] is null or id = any($5))
  and ($6::uuid is null or id < $6)
order by id desc
limit $7

-- name: count_active_jobs
-- What waits in a run counts before there is a job.
select (select count(*) from jobs where owner_id = $1 and state in ('queued', 'running'))
     + (select coalesce(sum(waiting), 0) from runs where owner_id = $1 and state = 'running')

-- name: count_waiting_jobs
-- Of all owners; counting stops at $1.
select count(*) from (select from jobs where state = 'queued' limit $1) waiting

-- name: list_lanes
select model,
       count(*) filter (where state = 'queued') as depth,
       count(*) filter (where state = 'running') as running,
       extract(epoch from now() - min(queued_at) filter (where state = 'queued'))::float8 as oldest_wait_s,
       count(*) filter (where state = 'queued' and owner_id = $1) as my_depth,
       count(*) filter (where state = 'running' and owner_id = $1) as my_running
from jobs where state in ('queued', 'running')
group by model
order by model

-- name: list_next_jobs
-- Of each model the owner's job that is claimed first.
select distinct on (model) model, id from jobs
where owner_id = $1 and state = 'queued'
order by model, priority desc, attempt = 0, queued_at, id

-- name: queue_position
-- How many queued jobs of the model go before this one: what is more urgent, what had its turn before, the owner's own
-- older ones, and as many turns of every other owner as may come until then. Counting stops at $2.
with recursive me as (
    select model, priority, owner_id, queued_at, id, attempt from jobs where id = $1 and state = 'queued'
), older as (
    select count(*) as n from (
        select from jobs q, me
        where q.state = 'queued' and q.model = me.model and q.priority = me.priority and q.owner_id = me.owner_id
          and q.attempt = 0 and (q.queued_at, q.id) < (me.queued_at, me.id)
        limit $2
    ) counted
), waiting as (  -- each owner by one step along the index
    (select q.owner_id from jobs q
     where q.state = 'queued' and q.model = (select model from me) and q.priority = (select priority from me)
     order by q.owner_id limit 1)
    union all
    select (select q.owner_id from jobs q
            where q.state = 'queued' and q.model = (select model from me) and q.priority = (select priority from me)
              and q.owner_id > w.owner_id
            order by q.owner_id limit 1)
    from waiting w where w.owner_id is not null
)
select count(*) from (
    select from jobs q
    where q.state = 'queued' and q.model = (select model from me) and q.priority > (select priority from me)
    union all
    select from jobs q, me
    where q.state = 'queued' and q.model = me.model and q.priority = me.priority and q.attempt > 0
      and (me.attempt = 0 or (q.queued_at, q.id) < (me.queued_at, me.id))
    union all
    select from me, generate_series(1, (select n from older)) where me.attempt = 0
    union all
    select from me, waiting w, lateral (
        select from jobs q
        where q.state = 'queued' and q.model = me.model and q.priority = me.priority and q.owner_id = w.owner_id
          and q.attempt = 0
        limit (select n + 1 from older)
    ) turns
    where me.attempt = 0 and w.owner_id <> me.owner_id
    limit $2
) before

-- name: claim_job
-- The most urgent jobs first. Among those: what had its turn before and came back; then the oldest job of the owner who
-- follows the one that this worker served last ($4 and $5: priorities, and whom it served there); after the last owner
-- the first again. The last step also finds what is less urgent when others hold the rest.
-- Each is fenced by `materialized`: inlined, the planner may run it more than once and claim too many. `most` is asked for
-- by scalar sub-selects, so that each is one walk along an index.
with most as materialized (
    select priority from jobs where state = 'queued' and model = $1 and not_before <= now()
    order by priority desc limit 1
), served as materialized (
    select owner from unnest($4::smallint[], $5::uuid[]) as last (priority, owner)
    where priority = (select priority from most)
), again as materialized (
    select id from jobs
    where state = 'queued' and attempt > 0 and model = $1 and priority = (select priority from most)
      and not_before <= now()
    order by queued_at, id
    for update skip locked
    limit 1
), following as materialized (
    select id from jobs
    where state = 'queued' and model = $1 and priority = (select priority from most)
      and owner_id > (select owner from served)
      and not_before <= now() and not exists (select from again)
    order by owner_id, queued_at, id
    for update skip locked
    limit 1
), first as materialized (
    select id from jobs
    where state = 'queued' and model = $1
      and not_before <= now() and not exists (select from again) and not exists (select from following)
    order by priority desc, owner_id, queued_at, id
    for update skip locked
    limit 1
)
update jobs j
set state = 'running', attempt = attempt + 1, worker = $2, lease_until = now() + $3::interval,
    started_at = coalesce(started_at, now()), progress = '{}'
where j.id = coalesce((select id from again), (select id from following), (select id from first))
returning j.*

-- name: renew_leases
-- Returns the ones that are still ours, with whether somebody wants them cancelled.
update jobs j
set lease_until = now() + $3::interval
from unnest($1::uuid[], $2::int[]) as held (id, attempt)
where j.id = held.id and j.attempt = held.attempt and j.state = 'running'
returning j.id, j.attempt, j.cancel_requested

-- name: save_progress
-- Runs keep the farthest that a job has been.
with saved as (
    update jobs set progress = $3 where id = $1 and attempt = $2 and state = 'running' returning id
), told as (
    update run_parts set fraction = greatest(fraction, ($3::jsonb ->> 'fraction')::float8)
    where job_id in (select id from saved)
)
select from saved

-- name: finish_job
-- The fence: only the holder of the current attempt may end a job.
update jobs
set state = $3, result = $4, error = $5, finished_at = now(), lease_until = null,
    errors = errors + $6, progress = $7
where id = $1 and attempt = $2 and state = 'running'
returning *

-- name: requeue_job
-- Back to the queue, by the holder: an error that may pass ($4 errors more) or a shutdown ($5 drains more). Not when
-- somebody wants it cancelled: nobody would look at that flag again before its next turn.
update jobs
set state = 'queued', lease_until = null, worker = null, errors = errors + $4, drains = drains + $5,
    not_before = now() + $6::interval, error = $3, progress = '{}'
where id = $1 and attempt = $2 and state = 'running' and not cancel_requested
returning *

-- name: request_cancel
update jobs set cancel_requested = true where id = $1 returning *

-- name: cancel_queued
update jobs set state = 'cancelled', cancel_requested = true, finished_at = now(), error = $2
where id = $1 and state = 'queued'
returning *

-- name: lead_rescue
-- The lock ends with the transaction, so a leader that dies leaves its place at once. (0x6e6c is "nl"; 1 is the rescue.)
select pg_try_advisory_xact_lock(28268, 1)

-- name: lost_jobs
select * from jobs where state = 'running' and lease_until < now() order by lease_until limit $1
for update skip locked

-- name: release_leases
-- For the one process that knows nobody else is alive: what ran when it died need not wait for its lease.
update jobs set lease_until = now() - interval '1 second' where state = 'running'

-- name: rescue_job
update jobs
set state = $2, crashes = crashes + 1, lease_until = null, worker = null, error = $3, progress = '{}',
    finished_at = case when $2 = 'queued' then null else now() end
where id = $1
returning *
