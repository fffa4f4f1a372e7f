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
