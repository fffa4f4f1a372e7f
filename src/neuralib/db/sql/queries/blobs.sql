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
select coalesce(sum(bytes), 0)::bigint
from (
    select bytes from blobs where owner_id = $1 and key not like 'evicted/%'
    union all
    select bytes from transcript_revisions where owner_id = $1
) kept

-- name: upsert_blob
-- The same bytes of the same owner are one blob: the caller compares `key` to see whether its own copy is needed.
insert into blobs (id, owner_id, sha256, bytes, key, media_type) values ($1, $2, $3, $4, $5, $6)
on conflict (owner_id, sha256) do update
set key = case when blobs.key like 'evicted/%' then excluded.key else blobs.key end
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
