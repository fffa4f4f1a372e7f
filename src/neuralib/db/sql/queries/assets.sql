-- name: asset_columns
-- All but what only searching needs.
a.id, a.owner_id, a.library_id, a.parent_id, a.kind, a.role, a.stem, a.name, a.audio, a.facts, a.job_id, a.blob_id,
a.version, a.created_at, a.updated_at, a.tags, a.rating, a.favorite, a.color, a.notes, a.metadata, a.bpm, a.musical_key,
a.trashed_at, a.analysis, b.sha256, b.bytes, b.key, b.media_type

-- name: insert_asset
insert into assets (id, owner_id, library_id, parent_id, kind, role, stem, name, audio, facts, job_id, blob_id,
                    tags, rating, favorite, color, notes, metadata, search_text)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)

-- name: get_asset
select {asset_columns}
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.id = $2 and (a.trashed_at is null or $3::boolean)

-- name: lock_asset
select version from assets where owner_id = $1 and id = $2 and trashed_at is null for no key update

-- name: update_asset
update assets
set name = $3, role = $4, stem = $5, tags = $6, rating = $7, favorite = $8, color = $9, notes = $10, metadata = $11,
    version = version + 1, updated_at = now()
where owner_id = $1 and id = $2

-- name: find_duplicate
select id from assets where library_id = $1 and blob_id = $2 and id <> $3 and trashed_at is null order by id limit 1

-- name: list_job_assets
select {asset_columns}
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.job_id = any($2::uuid[]) and a.trashed_at is null
order by a.id

-- name: newest_child
select {asset_columns}
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.parent_id = $2 and a.kind = $3 and b.media_type = any($4::text[]) and a.trashed_at is null
order by array_position($4::text[], b.media_type), a.id desc
limit 1

-- name: newest_stems
select {asset_columns}
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.parent_id = $2 and a.role = 'stem' and a.stem is not null and a.trashed_at is null
  and a.job_id = (
    select job_id from assets
    where owner_id = $1 and parent_id = $2 and role = 'stem' and stem is not null and job_id is not null
      and trashed_at is null
    order by id desc limit 1
)
order by a.stem

-- name: share_assets
-- A shared lock, in the order in which whoever deletes takes theirs: deleting waits for the job's row, and finds it.
select {asset_columns}
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.id = any($2::uuid[]) and a.trashed_at is null
order by a.id
for key share of a

-- name: list_assets_read
select i.name as input_name, {asset_columns}
from job_inputs i
left join assets a on a.id = i.asset_id
left join blobs b on b.id = a.blob_id
where i.owner_id = $1 and i.job_id = $2
order by i.ord

-- name: lock_subtree
with recursive tree as (
    select id, blob_id from assets where owner_id = $1 and id = $2
    union all
    select a.id, a.blob_id from assets a join tree t on a.parent_id = t.id
)
select a.id, a.blob_id from assets a where a.id in (select id from tree) order by a.id for update

-- name: lock_library_assets
select id, blob_id from assets where owner_id = $1 and library_id = $2 order by id for update

-- name: assets_busy
select exists (select from job_inputs i join jobs j on j.id = i.job_id
               where i.asset_id = any($1::uuid[]) and j.state in ('queued', 'running'))

-- name: library_busy
-- A job may read an asset of one library and write into another.
select exists (select from jobs where library_id = $1 and state in ('queued', 'running'))

-- name: delete_assets
delete from assets where id = any($1::uuid[])
