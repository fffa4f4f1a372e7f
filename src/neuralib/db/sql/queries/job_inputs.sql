-- name: insert_job_inputs
insert into job_inputs (job_id, owner_id, ord, name, asset_id, revision)
select $1, $2, ord - 1, name, asset_id, revision
from unnest($3::uuid[], $4::text[], $5::int[]) with ordinality as given (asset_id, name, revision, ord)

-- name: list_job_inputs
select job_id, name, asset_id, revision from job_inputs
where owner_id = $1 and job_id = any($2::uuid[]) and asset_id is not null
order by job_id, ord
