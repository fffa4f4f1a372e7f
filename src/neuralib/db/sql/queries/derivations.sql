-- name: lock_derived
-- Who wants to read the asset waits, and finds its bytes gone.
select job_id, blob_id from assets where owner_id = $1 and id = $2 for update

-- name: count_other_users
select count(*) from assets where blob_id = $1 and id <> $2

-- name: evict_blob
-- The row keeps its digest and its size; a key that lies nowhere says that the bytes are gone.
with before as (
    select id, key from blobs where id = $1 and key not like 'evicted/%' for update
), left_behind as (
    insert into pending_objects (key, delete_after) select key, now() from before
    on conflict (key) do update set delete_after = excluded.delete_after
)
update blobs set key = 'evicted/' || id where id in (select id from before)

-- name: touch_asset
update assets set version = version + 1, updated_at = now() where id = $1

-- name: find_rebuild
select id from jobs
where owner_id = $1 and output ->> 'rebuilds' = $2::uuid::text and state in ('queued', 'running')
  and not cancel_requested
order by id
limit 1

-- name: refill_asset
update assets
set blob_id = $2, audio = $3, facts = facts || $4, version = version + 1, updated_at = now()
where id = $1

-- name: list_ancestors
-- What an asset was made from, and that from what, so many steps back: what the job read; of what no job made, what it
-- was put under.
with recursive up (id, depth) as (
    select $2::uuid, 0
    union
    select before.id, up.depth + 1
    from up
    join assets a on a.id = up.id and a.owner_id = $1
    cross join lateral (
        select i.asset_id as id from job_inputs i where i.job_id = a.job_id and i.asset_id is not null
        union
        select a.parent_id where a.job_id is null and a.parent_id is not null
    ) before
    where up.depth < $3
)
select id from up group by id order by min(depth), id limit $4

-- name: list_descendants
with recursive down (id, depth) as (
    select $2::uuid, 0
    union
    select after.id, down.depth + 1
    from down
    cross join lateral (
        select a.id from job_inputs i join assets a on a.job_id = i.job_id
        where i.owner_id = $1 and i.asset_id = down.id
        union
        select a.id from assets a where a.owner_id = $1 and a.parent_id = down.id and a.job_id is null
    ) after
    where down.depth < $3
)
select id from down group by id order by min(depth), id limit $4

-- name: list_lineage
select a.id, a.library_id, a.kind, a.role, a.stem, a.name, b.key, j.id as job_id, j.operation, j.model, j.checkpoint,
       j.params, j.result ->> 'model' as ran,
       coalesce(j.recipe, j.result -> 'imported_from' ->> 'recipe') as recipe
from assets a
join blobs b on b.id = a.blob_id
left join jobs j on j.id = a.job_id
where a.owner_id = $1 and a.id = any($2::uuid[]) and a.trashed_at is null
order by a.id

-- name: list_lineage_edges
select distinct i.asset_id as source, a.id as target, a.job_id
from assets a join job_inputs i on i.job_id = a.job_id
where a.id = any($1::uuid[]) and i.asset_id = any($1::uuid[])
union all
select a.parent_id, a.id, null from assets a
where a.id = any($1::uuid[]) and a.parent_id = any($1::uuid[]) and a.job_id is null
order by target, source
