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
