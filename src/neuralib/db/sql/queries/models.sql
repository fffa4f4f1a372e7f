-- name: find_pull
-- The owner's job that already fetches these weights, or is about to.
select * from jobs
where owner_id = $1 and operation = $2 and model = $3 and checkpoint = $4
  and state in ('queued', 'running') and not cancel_requested
order by id desc
limit 1

-- name: measured_speeds
-- By what the newest jobs of each model ran on: how many of them, and their median speed. Nobody's in particular.
select m.model, j.checkpoint, j.device, j.precision,
       percentile_cont(0.5) within group (order by j.factor) as factor, count(*) as jobs
from unnest($1::text[]) as m (model), lateral (
    select result -> 'weights' ->> 'name' as checkpoint, result ->> 'device' as device,
           result ->> 'precision' as precision, (result ->> 'realtime_factor')::float8 as factor
    from jobs
    where model = m.model and state = 'succeeded' and result ->> 'realtime_factor' is not null
    order by id desc
    limit $2
) j
group by m.model, j.checkpoint, j.device, j.precision
order by m.model, jobs desc, j.checkpoint
