-- name: insert_library
insert into libraries (id, owner_id, name, description, color) values ($1, $2, $3, $4, $5)
returning *

-- name: get_library
select l.*, s.asset_count, s.bytes, s.duration
from libraries l
cross join lateral (
    select coalesce(sum(assets), 0)::bigint as asset_count, coalesce(sum(bytes), 0)::bigint as bytes,
           coalesce(sum(duration), 0)::float8 as duration
    from library_ledger where library_id = l.id
) s
where l.owner_id = $1 and l.id = $2 and (l.trashed_at is null or $3::boolean)

-- name: find_library_id
select id from libraries where owner_id = $1 and id = $2 and trashed_at is null

-- name: list_libraries
select l.*, s.asset_count, s.bytes, s.duration
from libraries l
cross join lateral (
    select coalesce(sum(assets), 0)::bigint as asset_count, coalesce(sum(bytes), 0)::bigint as bytes,
           coalesce(sum(duration), 0)::float8 as duration
    from library_ledger where library_id = l.id
) s
where l.owner_id = $1 and l.trashed_at is null and ($2::uuid is null or l.id < $2)
order by l.id desc
limit $3

-- name: update_library
update libraries set name = $3, description = $4, color = $5, version = version + 1, updated_at = now()
where owner_id = $1 and id = $2 and ($6::int is null or version = $6)
returning *

-- name: lock_library
select version from libraries where owner_id = $1 and id = $2 and trashed_at is null for update

-- name: share_library
-- Deleting the library waits for the job's row, and finds it.
select version from libraries where owner_id = $1 and id = $2 and trashed_at is null for key share

-- name: forget_library
-- Finished jobs stay as history when their library goes.
update jobs set library_id = null where owner_id = $1 and library_id = $2

-- name: delete_library
delete from libraries where owner_id = $1 and id = $2

-- name: fold_ledgers
-- Whatever is added meanwhile stays beside the folded line, and of two that fold at once each keeps what it took out.
with long as (
    select library_id from library_ledger group by library_id having count(*) > $1
), taken as (
    delete from library_ledger where library_id in (select library_id from long) returning *
)
insert into library_ledger (library_id, assets, bytes, duration)
select library_id, sum(assets), sum(bytes), sum(duration) from taken group by library_id
