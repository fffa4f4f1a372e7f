-- name: export_library
select {asset_columns}
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.library_id = $2 and a.trashed_at is null
order by a.id
limit $3

-- name: export_assets
-- With $3 everything under them too.
with recursive tree as (
    select id from assets where owner_id = $1 and id = any($2::uuid[])
    union
    select a.id from assets a join tree t on a.parent_id = t.id where $3::boolean
)
select {asset_columns}
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.id in (select id from tree) and a.trashed_at is null
order by a.id
limit $4

-- name: export_jobs
select * from jobs where owner_id = $1 and id = any($2::uuid[]) order by id

-- name: export_inputs
-- With the digest of each, while it is there.
select i.job_id, i.name, i.asset_id, coalesce(r.sha256, b.sha256) as sha256
from job_inputs i left join assets a on a.id = i.asset_id left join blobs b on b.id = a.blob_id
left join transcript_revisions r on r.owner_id = i.owner_id and r.asset_id = i.asset_id and r.number = i.revision
where i.owner_id = $1 and i.job_id = any($2::uuid[])
order by i.job_id, i.ord

-- name: insert_export
insert into exports (id, owner_id, library_id, asset_ids, tree, include, name_template, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, now() + $8::interval)
on conflict (owner_id, id) do nothing

-- name: get_export
select *, expires_at < now() as expired from exports where owner_id = $1 and id = $2

-- name: prune_exports
delete from exports
where owner_id = $1 and (
    expires_at < now() - $2::interval
    or id <= (select id from exports where owner_id = $1 order by id desc offset 1000 limit 1)
)
