-- name: insert_run
insert into runs (id, owner_id, pipeline, steps, asset_id, output, priority, max_attempts, timeout_s, rerun, metadata,
                  waiting)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
returning *

-- name: get_run
select * from runs where owner_id = $1 and id = $2

-- name: list_runs
select * from runs
where owner_id = $1
  and ($2::text[] is null or state = any($2))
  and ($3::uuid is null or asset_id = $3)
  and ($4::uuid is null or id < $4)
order by id desc
limit $5

-- name: list_runs_of_job
-- Those that go on when the job has ended.
select r.* from runs r
where r.state = 'running' and r.id in (select run_id from run_parts where job_id = $1)
order by r.id

-- name: list_parts
select p.*, j.state, j.error as job_error, j.model
from run_parts p left join jobs j on j.id = p.job_id
where p.run_id = any($1::uuid[])
order by p.job_id, p.input_id

-- name: insert_part
insert into run_parts (run_id, owner_id, step, input_id, job_id, made, error) values ($1, $2, $3, $4, $5, $6, $7)

-- name: save_run
update runs
set state = $2, waiting = $3, finished_at = case when $2 = 'running' then null else now() end
where id = $1
returning *

-- name: request_cancel_run
update runs set cancel_requested = true where id = $1

-- name: lock_run_jobs
-- Those that only this run wants, so that they may be cancelled with it; in one order, so that two never wait for
-- each other.
select j.id from jobs j
where j.id in (select job_id from run_parts where run_id = $1 and made)
  and j.state in ('queued', 'running')
  and not exists (
      select from run_parts p join runs r on r.id = p.run_id
      where p.job_id = j.id and p.run_id <> $1 and r.state = 'running' and p.error is null
  )
order by j.id
for update of j

-- name: let_go
-- Parts of a cancelled run whose jobs others want too: they go on without it.
update run_parts p set error = $2
from jobs j
where p.run_id = $1 and j.id = p.job_id and p.error is null and j.state in ('queued', 'running')
  and not j.cancel_requested

-- name: model_speeds
-- Seconds of computing for a second of audio, by the newest jobs of each model; nobody's in particular.
select m.model, (
    select avg(1 / factor) from (
        select nullif((result ->> 'realtime_factor')::float8, 0) as factor from jobs
        where model = m.model and state = 'succeeded'
        order by id desc
        limit 20
    ) newest
) as seconds
from unnest($1::text[]) as m (model)
