-- Every statement of NeuraLib, by name. Each has one typed function in the module of its section.

-- ── the schema ──────────────────────────────────────────────────────────────────────────────────────

-- name: schema_version
select max(version) from schema_migrations

-- name: insert_migration
insert into schema_migrations (version, name) values ($1, $2)

-- ── owners ──────────────────────────────────────────────────────────────────────────────────────────

-- name: upsert_owner
insert into owners (id, subject, issuer) values ($1, $2, $3)
on conflict (issuer, subject) do update set subject = excluded.subject
returning id

-- name: lock_owner
-- One submission of an owner at a time; events of theirs wait until it commits.
select id from owners where id = $1 for no key update

-- name: find_owner
select id from owners where subject = $1 and issuer = $2

-- name: get_owner
select id, issuer, subject, created_at from owners where id = $1

-- name: owner_usage
select (select coalesce(sum(bytes), 0)::bigint from blobs where owner_id = $1) as storage_bytes,
       (select count(*) from jobs where owner_id = $1 and state in ('queued', 'running')) as jobs_active

-- ── credentials ─────────────────────────────────────────────────────────────────────────────────────

-- name: insert_credential
insert into credentials (id, owner_id, parent_id, kind, name, prefix, digest, scopes, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
returning *

-- name: find_credential
-- Its time of use moves once a minute, so that a busy key does not write with every request.
with found as (
    select *, coalesce(expires_at <= now(), false) as expired from credentials where kind = $1 and digest = $2
), touched as (
    update credentials set last_used_at = now()
    where id in (select id from found) and (last_used_at is null or last_used_at < now() - interval '1 minute')
)
select * from found

-- name: list_keys
select c.*, o.issuer, o.subject from credentials c join owners o on o.id = c.owner_id
where c.kind = 'key' and ($1::uuid is null or c.owner_id = $1) and ($2::uuid is null or c.id < $2)
order by c.id desc
limit $3

-- name: count_keys
select count(*) from credentials where kind = 'key' and owner_id = $1

-- name: delete_key
delete from credentials where kind = 'key' and id = $1 and ($2::uuid is null or owner_id = $2) returning *

-- name: trim_sessions
delete from credentials
where kind = 'session' and owner_id = $1 and (expires_at <= now() or id in (
    select id from credentials where kind = 'session' and owner_id = $1 order by id desc offset $2
))

-- name: delete_session
delete from credentials where kind = 'session' and id = $1

-- name: ended_credentials
-- Of these, the ones that open nothing any more.
select asked.id from unnest($1::uuid[]) as asked (id)
where not exists (
    select from credentials c where c.id = asked.id and (c.expires_at is null or c.expires_at > now())
)

-- ── libraries ───────────────────────────────────────────────────────────────────────────────────────

-- name: insert_library
insert into libraries (id, owner_id, name, description, color) values ($1, $2, $3, $4, $5)
returning *

-- name: get_library
select l.*, s.asset_count, s.bytes, s.duration
from libraries l
cross join lateral (
    select count(*) as asset_count, coalesce(sum(b.bytes), 0)::bigint as bytes,
           coalesce(sum((a.audio ->> 'duration_s')::float8) filter (where a.parent_id is null), 0) as duration
    from assets a join blobs b on b.id = a.blob_id where a.library_id = l.id
) s
where l.owner_id = $1 and l.id = $2

-- name: list_libraries
select l.*, s.asset_count, s.bytes, s.duration
from libraries l
cross join lateral (
    select count(*) as asset_count, coalesce(sum(b.bytes), 0)::bigint as bytes,
           coalesce(sum((a.audio ->> 'duration_s')::float8) filter (where a.parent_id is null), 0) as duration
    from assets a join blobs b on b.id = a.blob_id where a.library_id = l.id
) s
where l.owner_id = $1 and ($2::uuid is null or l.id < $2)
order by l.id desc
limit $3

-- name: update_library
update libraries set name = $3, description = $4, color = $5, version = version + 1, updated_at = now()
where owner_id = $1 and id = $2 and ($6::int is null or version = $6)
returning *

-- name: lock_library
select version from libraries where owner_id = $1 and id = $2 for update

-- name: share_library
-- Deleting the library waits for the job's row, and finds it.
select version from libraries where owner_id = $1 and id = $2 for key share

-- name: forget_library
-- Finished jobs stay as history when their library goes.
update jobs set library_id = null where owner_id = $1 and library_id = $2

-- name: delete_library
delete from libraries where owner_id = $1 and id = $2

-- ── blobs ───────────────────────────────────────────────────────────────────────────────────────────

-- name: add_pending
insert into pending_objects (key, delete_after) values ($1, now() + $2::interval)
on conflict (key) do update set delete_after = excluded.delete_after

-- name: drop_pending
delete from pending_objects where key = any($1::text[])

-- name: due_pending
select key from pending_objects where delete_after < now() order by delete_after limit $1

-- name: expire_pending
update pending_objects set delete_after = now() where key = any($1::text[])

-- name: stored_bytes
select coalesce(sum(bytes), 0)::bigint from blobs where owner_id = $1

-- name: upsert_blob
-- The same bytes of the same owner are one blob: the caller compares `key` to see whether its own copy is needed.
insert into blobs (id, owner_id, sha256, bytes, key, media_type) values ($1, $2, $3, $4, $5, $6)
on conflict (owner_id, sha256) do update set sha256 = excluded.sha256
returning id, sha256, bytes, key, media_type

-- name: lock_blobs
-- Waits for uploads of the same bytes that are just being committed, so that doom_blobs sees their assets.
select id from blobs where id = any($1::uuid[]) order by id for update

-- name: doom_blobs
-- Blobs that no asset uses any more leave, and their keys become pending for the sweeper.
with gone as (
    delete from blobs b where b.id = any($1::uuid[]) and not exists (select from assets a where a.blob_id = b.id)
    returning key
)
insert into pending_objects (key, delete_after) select key, now() from gone
on conflict (key) do update set delete_after = excluded.delete_after
returning key

-- ── assets ──────────────────────────────────────────────────────────────────────────────────────────

-- name: insert_asset
insert into assets (id, owner_id, library_id, parent_id, kind, role, stem, name, audio, facts, job_id, blob_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)

-- name: get_asset
select a.*, b.sha256, b.bytes, b.key, b.media_type
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.id = $2

-- name: list_assets
select a.*, b.sha256, b.bytes, b.key, b.media_type
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.library_id = $2
  and ($3::boolean or a.parent_id is not distinct from $4)
  and ($5::text is null or a.kind = $5)
  and ($6::uuid is null or a.id < $6)
order by a.id desc
limit $7

-- name: list_job_assets
select a.*, b.sha256, b.bytes, b.key, b.media_type
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.job_id = any($2::uuid[])
order by a.id

-- name: lock_subtree
with recursive tree as (
    select id, blob_id from assets where owner_id = $1 and id = $2
    union all
    select a.id, a.blob_id from assets a join tree t on a.parent_id = t.id
)
select a.id, a.blob_id from assets a where a.id in (select id from tree) for update

-- name: lock_library_assets
select id, blob_id from assets where owner_id = $1 and library_id = $2 for update

-- name: assets_busy
select exists (select from jobs where asset_id = any($1::uuid[]) and state in ('queued', 'running'))

-- name: library_busy
-- A job may read an asset of one library and write into another.
select exists (select from jobs where library_id = $1 and state in ('queued', 'running'))

-- name: delete_assets
delete from assets where id = any($1::uuid[])

-- ── jobs ────────────────────────────────────────────────────────────────────────────────────────────

-- name: insert_job
insert into jobs (id, owner_id, operation, model, checkpoint, params, output, asset_id, library_id, priority,
                  max_attempts, timeout_s, metadata, recipe)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
returning *

-- name: get_asset_for_job
-- A shared lock: deleting the asset waits for the job's row, and finds it.
select a.*, b.sha256, b.bytes, b.key, b.media_type
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.id = $2
for key share of a

-- name: get_job
select * from jobs where owner_id = $1 and id = $2

-- name: lock_job
select * from jobs where owner_id = $1 and id = $2 for update

-- name: find_same_job
-- The newest job that makes or has made the same things in the same place. A finished one counts while everything
-- that it made is there.
select * from jobs j
where owner_id = $1 and recipe = $2 and asset_id = $3 and library_id = $4
  and state in ('queued', 'running', 'succeeded') and (state = 'succeeded' or not cancel_requested)
  and (state <> 'succeeded'
       or (result ->> 'outputs')::int = (select count(*) from assets where job_id = j.id))
order by id desc
limit 1

-- name: list_jobs
select * from jobs
where owner_id = $1
  and ($2::text[] is null or state = any($2))
  and ($3::text is null or operation = $3)
  and ($4::uuid is null or asset_id = $4)
  and ($5::uuid[] is null or id = any($5))
  and ($6::uuid is null or id < $6)
order by id desc
limit $7

-- name: count_active_jobs
select count(*) from jobs where owner_id = $1 and state in ('queued', 'running')

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
update jobs set progress = $3 where id = $1 and attempt = $2 and state = 'running'

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

-- ── events ──────────────────────────────────────────────────────────────────────────────────────────

-- name: append_event
with counted as (
    update owners set event_seq = event_seq + 1 where id = $1 returning event_seq
)
insert into events (owner_id, seq, type, job_id, data)
select $1, event_seq, $2, $3, $4 from counted
returning seq

-- name: list_events
select owner_id, seq, type, job_id, data, at from events
where owner_id = $1 and seq > $2 and ($3::uuid is null or job_id = $3)
order by seq
limit $4

-- name: event_bounds
select o.event_seq as head, coalesce((select min(seq) from events where owner_id = o.id), o.event_seq + 1) as oldest
from owners o where o.id = $1

-- name: event_heads
select id, event_seq from owners where id = any($1::uuid[])

-- name: prune_events
delete from events where at < now() - $1::interval

-- ── idempotency keys ────────────────────────────────────────────────────────────────────────────────

-- name: take_key
-- A new key, or one whose request was not answered and is not being carried out any more.
insert into idempotency_keys as k (owner_id, route, key, fingerprint, first_id, lease_until)
values ($1, $2, $3, $4, $5, now() + $6::interval)
on conflict (owner_id, route, key) do update
set lease_until = excluded.lease_until, attempt = k.attempt + 1
where k.status is null and k.lease_until <= now() and k.fingerprint is not distinct from excluded.fingerprint
returning attempt, first_id

-- name: get_key
select fingerprint, status, headers, body from idempotency_keys where owner_id = $1 and route = $2 and key = $3

-- name: renew_key
update idempotency_keys set lease_until = now() + $5::interval
where owner_id = $1 and route = $2 and key = $3 and attempt = $4 and status is null

-- name: answer_key
update idempotency_keys set fingerprint = $5, status = $6, headers = $7, body = $8
where owner_id = $1 and route = $2 and key = $3 and attempt = $4 and status is null

-- name: prune_keys
delete from idempotency_keys where created_at < now() - $1::interval

-- ── workers ─────────────────────────────────────────────────────────────────────────────────────────

-- name: beat_worker
insert into workers (name, host, pid, models) values ($1, $2, $3, $4)
on conflict (name) do update set models = excluded.models, heartbeat_at = now()

-- name: remove_worker
delete from workers where name = $1

-- name: live_workers
select name, host, pid, models, started_at, heartbeat_at from workers
where heartbeat_at > now() - $1::interval
order by name

-- name: prune_workers
delete from workers where heartbeat_at < now() - $1::interval
