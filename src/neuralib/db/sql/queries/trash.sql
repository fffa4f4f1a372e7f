-- name: share_libraries_of
-- Before their assets are locked: whoever deletes a library takes its row first too.
select id from libraries
where owner_id = $1 and id in (select library_id from assets where owner_id = $1 and id = any($2::uuid[]))
order by id
for key share

-- name: trash_assets
update assets set trashed_at = now(), trashed_with = $3, version = version + 1, updated_at = now()
where owner_id = $1 and id = any($2::uuid[]) and trashed_at is null

-- name: trash_library
update libraries set trashed_at = now(), version = version + 1, updated_at = now() where owner_id = $1 and id = $2

-- name: lock_trashed_asset
select trashed_with from assets where owner_id = $1 and id = $2 for no key update

-- name: above_in_trash
-- Asked after the lock, so that it sees what was thrown away while that was waited for.
select exists (select from assets a join assets p on p.id = a.parent_id where a.id = $1 and p.trashed_at is not null)
    or exists (select from assets a join libraries l on l.id = a.library_id where a.id = $1 and l.trashed_at is not null)

-- name: lock_trashed_library
select trashed_at from libraries where owner_id = $1 and id = $2 for update

-- name: restore_assets
update assets set trashed_at = null, trashed_with = null, version = version + 1, updated_at = now()
where owner_id = $1 and trashed_with = $2

-- name: restore_library
update libraries set trashed_at = null, version = version + 1, updated_at = now() where owner_id = $1 and id = $2

-- name: list_trash
-- What was thrown away, newest first, with how many assets went along.
select t.*, (select count(*) from assets i where i.trashed_with = t.id) as assets
from (
    select 'asset' as kind, id, library_id, name, trashed_at from assets
    where owner_id = $1 and trashed_at is not null and trashed_with = id
    union all
    select 'library', id, id, name, trashed_at from libraries where owner_id = $1 and trashed_at is not null
) t
where $2::timestamptz is null or (t.trashed_at, t.id) < ($2, $3::uuid)
order by t.trashed_at desc, t.id desc
limit $4

-- name: due_trash
-- Of one owner ($1), or of all, what was thrown away before $2.
select * from (
    select 'library' as kind, owner_id, id, trashed_at from libraries
    where trashed_at <= $2 and ($1::uuid is null or owner_id = $1)
    union all
    select 'asset', owner_id, id, trashed_at from assets
    where trashed_at <= $2 and trashed_with = id and ($1::uuid is null or owner_id = $1)
) t
order by trashed_at
limit $3
