-- name: export_library
select a.*, b.sha256, b.bytes, b.key, b.media_type
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.library_id = $2
order by a.id
limit $3

-- name: export_assets
-- With $3 everything under them too.
with recursive tree as (
    select id from assets where owner_id = $1 and id = any($2::uuid[])
    union
    select a.id from assets a join tree t on a.parent_id = t.id where $3::boolean
)
select a.*, b.sha256, b.bytes, b.key, b.media_type
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.id in (select id from tree)
order by a.id
limit $4

-- name: export_jobs
-- With the digest of what each read, while that is there.
select j.*, b.sha256 as input_sha256
from jobs j left join assets a on a.id = j.asset_id left join blobs b on b.id = a.blob_id
where j.owner_id = $1 and j.id = any($2::uuid[])
order by j.id
