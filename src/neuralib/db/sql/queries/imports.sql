-- name: known_imports
select case when a.id = any($3::uuid[]) then a.id::text else a.facts -> 'imported_from' ->> 'asset_id' end as old_id,
       a.id, b.sha256
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.library_id = $2 and a.trashed_at is null
  and (a.id = any($3::uuid[]) or a.facts -> 'imported_from' ->> 'asset_id' = any($4::text[]))
order by a.id

-- name: insert_imported_job
insert into jobs (id, owner_id, operation, model, checkpoint, params, output, library_id, result, metadata,
                  created_at, queued_at, started_at, finished_at, state, max_attempts, timeout_s)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13, 'succeeded', 1, 1)

-- name: link_imported_job
update jobs set asset_id = $2 where id = $1
