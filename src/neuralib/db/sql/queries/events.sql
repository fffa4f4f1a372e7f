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
